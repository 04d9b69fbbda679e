"""An HTTP server on loopback that answers what it is told: for what aimock leaves out of answers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Scripted:
    """Answers every request with what was set last.

    Args:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._answers: list[tuple[int, str, list[bytes], bool]] = []

    def answers(self, *bodies: Any, status: int = 200, breaks: bool = False) -> None:
        """Answers with JSON, with one body after the other; the last one stays.

        Args:
            breaks: Cut the connection after the body instead of ending the answer.
        """
        self._answers = [(status, "application/json", [json.dumps(body).encode()], breaks) for body in bodies]

    def streams(self, *events: Any, breaks: bool = False, done: bool = True, then: bool = False) -> None:
        """Answers with server-sent events.

        Args:
            breaks: Cut the connection after them instead of ending the answer.
            done: Send `[DONE]` last, as OpenAI does.
            then: Only after what was set before.
        """
        lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
        if done and not breaks:
            lines.append(b"data: [DONE]\n\n")
        before = self._answers if then else []
        self._answers = [*before, (200, "text/event-stream", lines, breaks)]

    def next(self) -> tuple[int, str, list[bytes], bool]:
        """What is answered now."""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@contextmanager
def running() -> Iterator[Scripted]:
    """Such a server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Or each answer takes 40 ms, until the client acknowledges its headers.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, content_type, pieces, breaks = scripted.next()
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("transfer-encoding", "chunked")
            # For SDKs that try again.
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            if breaks:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    scripted = Scripted(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
