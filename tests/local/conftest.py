import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer
from pandaprobe_schemas import check

from pandaprobe_otel.local.server import LocalServer


class Api:
    """Speaks HTTP with a local server, and checks its answers against PandaProbe's schemas."""

    def __init__(self, url: str) -> None:
        self.url = url

    def request(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(self.url + path, body, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def get(self, path: str, schema: str | None = None, status: int = 200) -> Any:
        found, body, headers = self.request(path)
        assert found == status, body
        assert headers["content-type"] == "application/json"
        answer = json.loads(body)
        if schema:
            check(answer, schema)
        return answer

    def sessions(self, query: str = "") -> Any:
        return self.get(f"/sessions{query}", "PaginatedResponse_SessionSummary_")

    def session_ids(self, query: str = "") -> list[str]:
        return [item["session_id"] for item in self.sessions(query)["items"]]

    def session(self, session_id: str) -> Any:
        return self.get(f"/sessions/{session_id}", "SessionDetail")

    def traces(self, query: str = "") -> Any:
        return self.get(f"/traces{query}", "PaginatedResponse_TraceListItem_")

    def trace_names(self, query: str = "") -> list[str]:
        return [item["name"] for item in self.traces(query)["items"]]

    def trace(self, trace_id: str) -> Any:
        return self.get(f"/traces/{trace_id}", "TraceResponse")

    def post_json(self, *spans: dict[str, Any]) -> None:
        """Sends spans as an exporter of another language does."""
        body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
        headers = {"content-type": "application/json"}
        assert self.request("/v1/traces", json.dumps(body).encode(), headers)[0] == 200


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(tmp_path / "data", port=0) as running:
        yield running


@pytest.fixture
def api(server: LocalServer) -> Api:
    return Api(server.url)


@pytest.fixture
def api_of() -> Callable[[LocalServer], Api]:
    return lambda server: Api(server.url)


@pytest.fixture
def make_tracer(server: LocalServer) -> Iterator[Callable[..., Tracer]]:
    """Makes tracers whose spans are exported one by one, as OTLP."""
    providers: list[TracerProvider] = []

    def make(compression: Compression = Compression.Gzip) -> Tracer:
        exporter = OTLPSpanExporter(f"{server.url}/v1/traces", compression=compression)
        resource = Resource(
            {"service.name": "shop", "service.version": "1.2", "deployment.environment.name": "test"}
        )
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        providers.append(provider)
        return provider.get_tracer("tests", "1")

    yield make
    for provider in providers:
        provider.shutdown()


@pytest.fixture
def tracer(make_tracer: Callable[..., Tracer]) -> Tracer:
    return make_tracer()
