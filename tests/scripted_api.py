"""A server on loopback that answers each path as it was told, for what aimock has no answer to."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

# What a request has to hold to be refused, wherever it goes.
REFUSED = b"too many"
# What the response to each request is called.
REQUEST_ID = "req_1"
# In a form, in JSON or in a query.
_STREAM = re.compile(rb'stream(?:":? *(?:\r\n\r\n)?|=)true')


@contextmanager
def running(
    answers: Mapping[str, Any], sent: list[bytes] | None = None, id_header: str | None = None
) -> Iterator[str]:
    """Its URL.

    Args:
        answers: The end of a path -> what is answered: JSON, bytes of audio, or a text of
            events; with `#stream` behind the path, where a stream is asked for.
        sent: Gets what is sent.
        id_header: What has the id of a request; OpenAI's, or on Anthropic's path Anthropic's, if left out.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(unquote(self.path).encode())

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["content-length"])))

        def _answer(self, asked: bytes) -> None:
            if sent is not None:
                sent.append(asked)
            path = self.path.partition("?")[0]
            # Of several, the longest.
            end = max((end for end in answers if path.endswith(end)), key=len)
            if REFUSED in asked:
                error = {"message": "slow down", "type": "rate_limit_error", "code": 429}
                self._send(429, "application/json", json.dumps({"error": error}).encode())
                return
            answer = answers[end]
            if _STREAM.search(asked) and f"{end}#stream" in answers:
                answer = answers[f"{end}#stream"]
            if isinstance(answer, bytes):
                self._send(200, "audio/mpeg", answer)
            elif isinstance(answer, str):
                self._send(200, "text/event-stream", answer.encode())
            else:
                self._send(200, "application/json", json.dumps(answer).encode())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            # Anthropic calls it otherwise than OpenAI and Mistral.
            anthropic = "/v1/messages" in self.path
            self.send_header(id_header or ("request-id" if anthropic else "x-request-id"), REQUEST_ID)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def events(*data: dict[str, Any]) -> str:
    """A body of server-sent events."""
    return "".join(f"event: {item['type']}\ndata: {json.dumps(item)}\n\n" for item in data)
