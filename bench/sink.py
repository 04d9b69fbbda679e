"""A receiver of OTLP and of PandaProbe's traces that counts, per variant: requests, bytes, spans, stamped."""

import gzip
import json
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Sink(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = Lock()
        self.counts: dict[str, dict[str, int]] = defaultdict(
            lambda: {"requests": 0, "bytes": 0, "spans": 0, "in_session": 0}
        )

    def count(self, path: str, body: bytes, plain: bytes) -> None:
        spans, stamped = _of_otlp(plain) if path.endswith("/v1/traces") else _of_rest(plain)
        with self.lock:
            counts = self.counts[path.split("/")[1]]
            counts["requests"] += 1
            counts["bytes"] += len(body)
            counts["spans"] += spans
            counts["in_session"] += stamped


def _of_otlp(body: bytes) -> tuple[int, int]:
    spans = [
        span
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    keys = ({attribute.key for attribute in span.attributes} for span in spans)
    return len(spans), sum({"session.id", "user.id"} <= each for each in keys)


def _of_rest(body: bytes) -> tuple[int, int]:
    trace = json.loads(body)
    # A turn is a row of its own, besides its spans.
    spans = len(trace["spans"]) + (trace["name"] not in [span["name"] for span in trace["spans"]])
    return spans, spans if trace["session_id"] and trace["user_id"] else 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"", "application/x-protobuf")
        if self.path.endswith("/traces"):
            compressed = self.headers.get("Content-Encoding") == "gzip"
            self.server.count(self.path, body, gzip.decompress(body) if compressed else body)

    def do_GET(self) -> None:
        with self.server.lock:
            self._answer(json.dumps(self.server.counts).encode(), "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    sink = Sink()
    sys.stdout.write(f"http://127.0.0.1:{sink.server_port}\n")
    sys.stdout.flush()
    sink.serve_forever()


if __name__ == "__main__":
    main()
