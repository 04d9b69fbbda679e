"""One keep-alive HTTP connection to an endpoint."""

import os
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.util.re import parse_env_headers

# OpenTelemetry's settings for the trust in an OTLP receiver; the more specific one holds.
_CERTIFICATE = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
_CLIENT_CERTIFICATE = (
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
)
_CLIENT_KEY = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY")
_ENDPOINT = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


class Connection:
    """Speaks to an endpoint; makes no second attempt and follows no redirect.

    Args:
        endpoint: The base URL.
        headers: What every request carries, besides the OTLP headers of OpenTelemetry that are meant for it.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        self.endpoint = endpoint
        sent = urllib3.HTTPHeaderDict(_otel_headers(endpoint))
        sent.update(headers)
        # What a body is, every request says itself. A plain dictionary, which costs a request a tenth less.
        self._headers = {
            name: value for name, value in sent.items() if not name.lower().startswith("content-")
        }
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._prefix = ""
        self._pid = 0

    def request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], give_up_at: float
    ) -> urllib3.BaseHTTPResponse:
        """Makes one attempt.

        Args:
            method: POST or PATCH.
            path: The path below the endpoint.
            body: The request's body.
            headers: What this request carries besides.
            give_up_at: When to stop waiting, on the clock of `time.monotonic`.

        Raises:
            urllib3.exceptions.HTTPError: When there is no answer.
        """
        patience = max(0.001, give_up_at - monotonic())
        # An instrumentation of urllib3 would make a span of it, which would have to be sent in turn.
        with suppress_instrumentation():
            # The pool is asked and not its manager, which would look for it anew with every request.
            response = self._connected().urlopen(
                method,
                self._prefix + path,
                body=body,
                headers={**self._headers, **headers},
                timeout=urllib3.Timeout(total=patience),
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )
        try:
            response.read(cache_content=True)
        except urllib3.exceptions.HTTPError:
            # It is taken, whatever else the answer was to say; sent again it would be there twice.
            if not 200 <= response.status < 300:
                raise
            return urllib3.HTTPResponse(headers=response.headers, status=response.status)
        finally:
            response.release_conn()
        return response

    def close(self) -> None:
        """Closes the connection; the next request makes another."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _connected(self) -> urllib3.HTTPConnectionPool:
        # A child of `fork` has the parent's sockets; two processes that write to one lose what both send.
        if self._pid != os.getpid():
            self.close()
        if self._pool is None:
            manager, parts = _manager_for(self.endpoint), urlsplit(self.endpoint)
            self._pool, self._pid = manager.connection_from_url(self.endpoint), os.getpid()
            # A proxy is told the whole URL, but for HTTPS, where it sees nothing of the request.
            is_told = manager.proxy is not None and parts.scheme == "http"
            self._prefix = self.endpoint if is_told else parts.path
        return self._pool


def _manager_for(endpoint: str) -> urllib3.PoolManager:
    trust: dict[str, Any] = {
        "ca_certs": _first(_CERTIFICATE) or certifi.where(),
        "cert_file": _first(_CLIENT_CERTIFICATE),
        "key_file": _first(_CLIENT_KEY),
    }
    if proxy := proxy_for(endpoint):
        return urllib3.ProxyManager(proxy, **trust)
    return urllib3.PoolManager(**trust)


def _otel_headers(endpoint: str) -> Mapping[str, str]:
    """The headers that are meant for this endpoint: mostly they hold the secret of another receiver."""
    meant_for = _first(_ENDPOINT)
    if meant_for is None or _origin(meant_for) != _origin(endpoint):
        return {}
    return dict(parse_env_headers(_first(_HEADERS) or "", liberal=True))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        # It has no port that is a number.
        return "", None, None


def proxy_for(endpoint: str) -> str | None:
    """The proxy that the environment names for an endpoint."""
    parts = urlsplit(endpoint)
    proxy = getproxies().get(parts.scheme)
    return proxy if proxy and not proxy_bypass(parts.hostname or "") else None


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
