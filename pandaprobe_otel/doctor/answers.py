"""What an answer means, or that there is none, and what to do about it: a sentence for each."""

import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions

from ..export.connection import proxy_for
from ..export.delivery import fix_for
from ..export.wire import NOT_THERE, retry_after
from .masking import without_password

_MOST_DETAIL = 160


def is_delivered(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether a receiver has taken the request; a web page is no receiver."""
    return 200 <= response.status < 300 and not _is_page(response)


def meaning(response: urllib3.BaseHTTPResponse) -> tuple[str, str]:
    """What an answer that is no success means, and what to do."""
    status = response.status
    if 200 <= status < 300:
        return (
            "answered with a web page, so this is no receiver",
            "PANDAPROBE_ENDPOINT is the base URL of the API, not of the web application",
        )
    said = f"answered {status} {_phrase(status)}"
    if 300 <= status < 400:
        return f"{said}: redirects are not followed, spans would be lost", fix_for(response)
    if status == 429:
        return _limited(said, response)
    if status == 407:
        return f"{said}: the proxy wants to know who asks", "put user and password into HTTPS_PROXY"
    if status in (400, 422):
        return f"{said}: {_detail(response)}", "check PANDAPROBE_PROJECT_NAME and the other settings"
    if status in NOT_THERE:
        return (
            f"{said}: there is no receiver there",
            "PANDAPROBE_ENDPOINT is the base URL, without /v1/traces; check it",
        )
    what, _, fix = fix_for(response).partition("; ")
    if fix:
        return f"{said}: {what}", fix
    return f"{said}: the receiver fails", "try again later; until then spans wait in the spool"


def no_answer(error: Exception, endpoint: str, timeout: float) -> tuple[str, str]:
    """Why there is no answer, and what to do."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    proxy = proxy_for(endpoint)
    through = f" through the proxy {without_password(proxy)}" if proxy else ""
    match error:
        case exceptions.ProxyError():
            return f"there is no connection{through}", f"check HTTPS_PROXY, or add {host} to NO_PROXY"
        case exceptions.SSLError():
            return _tls(error, host)
        case exceptions.NameResolutionError():
            return (
                f"the name {host} cannot be resolved (DNS)",
                "check the spelling of PANDAPROBE_ENDPOINT, the DNS of this machine, and HTTPS_PROXY",
            )
        # It is a ConnectTimeoutError, too.
        case exceptions.NewConnectionError():
            return (
                f"nothing listens at {parts.netloc.rpartition('@')[2]}",
                "check PANDAPROBE_ENDPOINT and start the receiver; `pandaprobe-otel local` is one",
            )
        case exceptions.ConnectTimeoutError():
            return (
                f"no connection within {timeout:g} s{through}",
                "a firewall may drop it; where a proxy is needed, set HTTPS_PROXY",
            )
        case exceptions.ReadTimeoutError():
            return (
                f"no answer within {timeout:g} s{through}",
                "raise PANDAPROBE_TIMEOUT, or see why the receiver is slow",
            )
        case OSError():
            return _no_file(error)
        case _:
            return (
                f"the connection broke ({type(error).__name__}){through}",
                "check whether PANDAPROBE_ENDPOINT is https:// where it should be",
            )


def _tls(error: exceptions.SSLError, host: str) -> tuple[str, str]:
    cause = error.args[0] if error.args else None
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        return _no_file(cause)
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return (
            "the endpoint does not speak TLS as expected",
            "use http:// in PANDAPROBE_ENDPOINT if it is one without TLS; else see who intercepts",
        )
    said = f"the certificate is not trusted (TLS): {cause.verify_message}"
    if "expired" in said or "not yet valid" in said:
        return said, "renew the certificate, or correct the clock of this machine"
    if "mismatch" in said.lower():
        return said, f"name the host in PANDAPROBE_ENDPOINT that the certificate is for, instead of {host}"
    return said, "set OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file with its certificate authority"


def _no_file(error: OSError) -> tuple[str, str]:
    return (
        f"a certificate file cannot be read ({error.strerror or type(error).__name__})",
        "check the files that OTEL_EXPORTER_OTLP_CERTIFICATE and its like name",
    )


def _limited(said: str, response: urllib3.BaseHTTPResponse) -> tuple[str, str]:
    detail = _detail(response)
    if detail:
        return f"{said}: {detail}", "upgrade the plan, or wait for its next period; spans wait in the spool"
    wait = f"{retry_after(response) or 60:g} seconds"
    return f"{said}: too many requests", f"run doctor again in {wait}; spans are sent by themselves then"


def _detail(response: urllib3.BaseHTTPResponse) -> str:
    """What PandaProbe says of a refusal."""
    try:
        body: object = response.json()
    except ValueError:
        return ""
    detail: Any = cast("Mapping[str, Any]", body).get("detail", "") if isinstance(body, Mapping) else ""
    return " ".join(str(detail).split())[:_MOST_DETAIL]


def _is_page(response: urllib3.BaseHTTPResponse) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
