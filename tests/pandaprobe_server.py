"""PandaProbe's REST API over HTTP on loopback, as `pandaprobe_receiver` has it in memory."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pandaprobe_receiver import Receiver

from pandaprobe_otel.export.wire import Request


class Server:
    """Runs from `with` to `with`'s end; then every request was one that PandaProbe understands.

    Args:
        receiver: What is asked.
        answers: The answers to the first requests, which nobody is asked.
    """

    def __init__(self, receiver: Receiver | None = None, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.receiver = receiver or Receiver()
        self._wrong: list[BaseException] = []
        self._lock = threading.Lock()
        remaining = list(answers)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else an answer in two pieces takes 40 ms.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers: dict[str, str] = {}
                if self.path == "/v1/traces":
                    status, content = 404, b'{"detail":"Not Found"}'
                elif remaining:
                    status, headers, content = remaining.pop(0)
                else:
                    status, content = server._answer(self.command, self.path, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_PATCH = do_POST

            def log_message(self, *args: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        with self._lock:
            self.receiver.now = time.monotonic()
            try:
                response = self.receiver.answer(Request(path, body, headers, 0, None, method))
            except BaseException as error:
                self._wrong.append(error)
                return 422, b"{}"
            return response.status, response.data

    def __enter__(self) -> "Server":
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        if self._wrong:
            raise self._wrong[0]

    def trace(self, name: str) -> Any:
        """The trace of that name, with the names of its spans and of their parents."""
        trace = self.receiver.named(name)
        by_id = {None: None} | {span_id: span["name"] for span_id, span in trace["spans"].items()}
        parents = {span["name"]: by_id[span["parent_span_id"]] for span in trace["spans"].values()}
        return {**trace, "parents": parents}
