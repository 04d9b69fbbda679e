"""Stands between an SDK and aimock, and does what this does not: it refuses, breaks down and stalls.

What becomes of a request is in what it says; the same request gets the same bytes each time.
"""

import json
import re
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError

from .answers import ERRORS, MISTRAL_CALL, REFUSALS, WHOLE

# What a request says -> what becomes of it.
REFUSE, REFUSED, FAIL, HANG_UP, STALL = b"refuse me", b"too many", b"fail midway", b"hang up", b"stall"
# What differs in the headers of two same requests.
PASSING = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "host"}
# Of Mistral, which answer as chats do.
_AS_CHAT = ("/agents/completions", "/fim/completions")
_MISTRAL = "/mistral"
_STREAM = re.compile(rb'"stream": ?true')


@dataclass
class ProviderAPI:
    """A server on loopback.

    Args:
        url: Where it listens.
    """

    url: str
    sent: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Answer:
    status: int
    kind: str
    body: bytes

    def half(self) -> bytes:
        """What comes before it breaks off: in a stream, whole events with some of the answer's text."""
        if self.kind.startswith("text/event-stream"):
            events = re.split(rb"(?<=\n\n)", self.body)
            return b"".join(events[: len(events) // 2])
        if self.kind.endswith("eventstream"):
            frames = list(_frames(self.body))
            return b"".join(frames[: len(frames) // 2])
        return self.body[: len(self.body) // 2]


TOO_MANY = _Answer(
    429, "application/json", b'{"error": {"message": "slow down", "type": "rate_limit_error"}}'
)


def _frames(body: bytes) -> Iterator[bytes]:
    while body:
        length = int.from_bytes(body[:4], "big")
        yield body[:length]
        body = body[length:]


def _ask(upstream: str, path: str, asked: bytes) -> _Answer:
    if path.endswith(_AS_CHAT):
        given = json.loads(asked)
        messages = given.get("messages") or [{"role": "user", "content": given["prompt"]}]
        path, asked = (
            "/v1/chat/completions",
            json.dumps({"model": "m", **given, "messages": messages}).encode(),
        )
    path = path.removeprefix(_MISTRAL)
    headers = {"content-type": "application/json", "authorization": "Bearer none", "x-api-key": "none"}
    request = urllib.request.Request(upstream + path, asked, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return _Answer(answer.status, answer.headers["content-type"], answer.read())
    except HTTPError as error:
        with error:
            return _Answer(error.code, error.headers["content-type"], error.read())


def _canned(table: dict[str, Any], path: str, asked: bytes) -> _Answer | None:
    """What a table says for the end of a path, with `#stream` behind it where a stream is asked for."""
    end = next((end for end in table if path.endswith(end.removesuffix("#stream"))), None)
    if end is None:
        return None
    if (_STREAM.search(asked) or end.startswith(":stream")) and f"{end}#stream" in table:
        return _Answer(200, "text/event-stream", table[f"{end}#stream"].encode())
    return _Answer(200, "application/json", json.dumps(table[end]).encode())


@contextmanager
def running(upstreams: Mapping[str, str]) -> Iterator[ProviderAPI]:
    """Such a server.

    Args:
        upstreams: The beginning of a path -> the URL of the server that answers.
    """
    known: dict[tuple[str, bytes], _Answer] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else an answer in two pieces takes 40 ms.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"]))
            path = self.path.partition("?")[0]
            headers = {name.lower(): value for name, value in self.headers.items()}
            api.sent.append((self.path, {name: headers[name] for name in headers.keys() - PASSING}, asked))
            if (path, asked) not in known:
                known[path, asked] = self._answer(path, asked)
            answer = known[path, asked]
            if FAIL in asked and answer.kind.startswith("text/event-stream"):
                error = next(error for end, error in ERRORS.items() if path.endswith(end))
                answer = _Answer(200, answer.kind, answer.half() + error.encode())
            self._begin(answer)
            if HANG_UP not in asked and STALL not in asked:
                self.wfile.write(answer.body)
                return
            self.close_connection = True
            self.wfile.write(answer.half())
            if STALL in asked:
                self.wfile.flush()
                api.stalled.set()
                # Until the other side has closed.
                self.rfile.read(1)

        def _answer(self, path: str, asked: bytes) -> _Answer:
            if REFUSE in asked and (refusal := _canned(REFUSALS, path, asked)):
                return refusal
            if path.startswith(_MISTRAL) and _STREAM.search(asked) and b'"tools"' in asked:
                return _Answer(200, "text/event-stream", MISTRAL_CALL.encode())
            if not (canned := _canned(WHOLE, path, asked)):
                return _ask(
                    next(url for start, url in upstreams.items() if path.startswith(start)), self.path, asked
                )
            return TOO_MANY if REFUSED in asked else canned

        def _begin(self, answer: _Answer) -> None:
            # Without a date, which differs.
            self.send_response_only(answer.status)
            self.send_header("content-type", answer.kind)
            self.send_header("request-id" if "/messages" in self.path else "x-request-id", "req_1")
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        api = ProviderAPI(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield api
        server.shutdown()
