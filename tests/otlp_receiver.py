"""An OTLP/HTTP receiver on loopback that keeps what arrives, and answers as it is told."""

import gzip
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Fault(Enum):
    """What a receiver does in place of an answer. Those that begin one have taken the request."""

    RESET = "the connection is reset"
    SLOW = "the answer takes a second"
    HALF_A_BODY = "the answer breaks off within its body"


# Status, headers, body; or None for no answer at all.
Answer = tuple[int, dict[str, str], bytes] | Fault | None
OK: Answer = (200, {}, b"")
_SLOW_SECONDS = 1.0


class Receiver:
    """Runs from `with` to `with`'s end.

    Args:
        answers: The answers to the first requests; then every request is taken.
    """

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.bodies: list[Any] = []
        self.connections: set[Any] = set()
        self.times: list[float] = []
        self.released = threading.Event()
        self._sockets: list[socket.socket] = []
        remaining = list(answers)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else an answer in two pieces takes 40 ms.
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                receiver._sockets.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.times.append(time.monotonic())
                receiver.paths.append(self.path)
                receiver.headers.append(dict(self.headers))
                receiver.connections.add(self.client_address)
                answer = remaining.pop(0) if remaining else OK
                if answer is None:
                    receiver.released.wait(30)
                    self.close_connection = True
                    return
                if answer is Fault.RESET:
                    # Closing a socket that does not linger sends a reset.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                    self.close_connection = True
                    return
                status, headers, content = OK if isinstance(answer, Fault) else answer
                if self.headers["Content-Type"] == "application/json":
                    receiver.bodies.append(json.loads(body))
                elif 200 <= status < 300:
                    try:
                        plain = gzip.decompress(body) if self.headers["Content-Encoding"] else body
                        request = ExportTraceServiceRequest.FromString(plain)
                    except (OSError, EOFError, zlib.error, DecodeError):
                        status = 400
                    else:
                        receiver.requests.append(request)
                if answer is Fault.SLOW:
                    time.sleep(_SLOW_SECONDS)
                missing = 100 if answer is Fault.HALF_A_BODY else 0
                self.close_connection = bool(missing)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content) + missing)}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        # Without this, connections that are kept alive would go on being served.
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    @property
    def resource(self) -> dict[str, Any]:
        return attributes_of(self.requests[0].resource_spans[0].resource)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.005)


def attributes_of(holder: Any) -> dict[str, Any]:
    return {item.key: _value(item.value) for item in holder.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
