"""Who a request goes to, and whether session and user may go along."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind

from ..attributes import HTTP_URL, MESSAGING_SYSTEM, NET_PEER_NAME, RPC_SYSTEM, SERVER_ADDRESS, URL_FULL

_URLS = (URL_FULL, HTTP_URL)
# Not `network.peer.address` and its like: behind a proxy that is the proxy.
_NAMES = (SERVER_ADDRESS, NET_PEER_NAME)

# A resolver takes numbers without dots, decimal or hexadecimal, for addresses.
_SINGLE_LABEL = re.compile(r"(?!0x[0-9a-f]*$)(?=.*[a-z])[a-z0-9_-]+")
_INTERNAL_SUFFIXES = (".local", ".internal", ".svc", ".localhost")

# Of gRPC's targets.
_SOCKETS = ("unix", "unix-abstract")
_SCHEMES = ("dns", "xds", "ipv4", "ipv6")
_ADDRESS = re.compile(r"((?P<host>[^:/\[\]]+)|\[(?P<ipv6>[^/\[\]]+)\])(:\w+)?")
# What parsers of URLs may disagree about.
_ODD = re.compile(r"[%@?#\\\s]")


def is_ours(span: Span, listed: Collection[str], *, into_headers: bool) -> bool:
    """Whether what is sent under `span` stays inside: its peer is an internal or a listed host, or a queue.

    Instrumentations of clients name the peer on the span before they inject. A peer that nobody names may be
    anyone; the address on a SERVER span is that of this service itself.

    Args:
        span: The span that is current where something is injected.
        listed: Names of hosts; one with a dot in front stands for all below it.
        into_headers: Whether it goes into plain headers.
    """
    kind = getattr(span, "kind", None)
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    # Under one span botocore writes into the message and into the headers of the request to AWS.
    if kind is SpanKind.PRODUCER and not (into_headers and attributes.get(RPC_SYSTEM) == "aws-api"):
        return True
    if kind not in (SpanKind.CLIENT, SpanKind.PRODUCER):
        return False
    hosts = set(_hosts(attributes))
    if not hosts:
        return MESSAGING_SYSTEM in attributes
    return are_ours(hosts, listed)


def are_ours(hosts: Collection[str], listed: Collection[str]) -> bool:
    """Whether every one of some hosts is an internal or a listed one."""
    return bool(hosts) and all(is_internal(host) or _is_listed(host, listed) for host in hosts)


@lru_cache(1024)
def is_internal(host: str) -> bool:
    """Whether a host, in lower case, can only be reached from inside, by its name or address."""
    try:
        address = ip_address(host)
    except ValueError:
        return _SINGLE_LABEL.fullmatch(host) is not None or host.removesuffix(".").endswith(
            _INTERNAL_SUFFIXES
        )
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_private or address.is_link_local


def hosts_of_target(target: object) -> frozenset[str]:
    """The hosts that a gRPC channel leads to; none where that cannot be read.

    Args:
        target: As gRPC's naming has it, `billing:50051` or `ipv4:10.0.0.1:80,10.0.0.2:80`.
    """
    if not isinstance(target, str) or _ODD.search(target):
        return frozenset()
    scheme, _, addresses = target.partition(":")
    if scheme in _SOCKETS:
        return frozenset({"localhost"})
    if scheme not in _SCHEMES:
        # gRPC takes it for a name with a port.
        addresses = target
    elif addresses.startswith("//"):
        # Between the slashes stands who is asked for the name.
        addresses = addresses[2:].partition("/")[2]
    found = [_ADDRESS.fullmatch(address) for address in addresses.split(",")]
    return frozenset((address["host"] or address["ipv6"]).lower() if address else "" for address in found)


def _hosts(attributes: Mapping[str, Any]) -> Iterator[str]:
    """The peer by every attribute that names it; empty for a name that cannot be read."""
    for key in _URLS:
        if key in attributes:
            yield host_of(str(attributes[key]))
    for key in _NAMES:
        if key in attributes:
            yield str(attributes[key]).strip("[]").lower()


def host_of(url: str) -> str:
    """The host of a URL, in lower case; empty where that cannot be read."""
    # Parsers disagree about what stands before and after a backslash.
    if "\\" in url:
        return ""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_listed(host: str, listed: Collection[str]) -> bool:
    return host in listed or any(host.endswith(name) for name in listed if name.startswith("."))
