"""A Bedrock runtime on loopback: it answers by what the last message says, whole or as AWS event streams."""

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ANSWER = "Hello, and a long enough answer for several chunks."
USAGE = {"inputTokens": 10, "outputTokens": 7, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 3}
TOOL = {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "Paris"}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.headers_seen.append(dict(self.headers))  # type: ignore[attr-defined]
        operation = self.path.rpartition("/")[2]
        if "too many" in asked:
            self._send(429, {"message": "slow down"}, {"x-amzn-errortype": "ThrottlingException"})
        elif operation == "converse":
            self._send(200, _converse("What weather" in asked))
        elif operation == "count-tokens":
            self._send(200, {"inputTokens": 12})
        elif operation == "apply":
            self._send(200, {"action": "NONE", "outputs": [{"text": "fine"}], "assessments": []})
        elif operation == "invoke":
            self._send(
                200, {"inputTextTokenCount": 3} if "inputText" in asked else _claude("What weather" in asked)
            )
        elif operation == "converse-stream":
            self._stream(_converse_events("What weather" in asked), breaks="break" in asked)
        else:
            self._stream(_claude_events("What weather" in asked), breaks="break" in asked)

    def _send(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._answer(
            status, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}
        )

    def _stream(self, events: list[tuple[str, dict[str, Any]]], *, breaks: bool) -> None:
        body = b"".join(_frame(kind, event) for kind, event in (events[:3] if breaks else events))
        if breaks:
            body += _frame("throttlingException", {"message": "slow down"}, message="exception")
        self._answer(200, body, {"content-type": "application/vnd.amazon.eventstream"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        always = {"content-length": str(len(body)), "x-amzn-requestid": "req_1"}
        for name, value in {**headers, **always}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def _frame(kind: str, payload: dict[str, Any], message: str = "event") -> bytes:
    body = json.dumps(payload).encode()
    named = ((f":{message}-type", kind), (":content-type", "application/json"), (":message-type", message))
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in named
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    checked = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return checked + struct.pack("!I", zlib.crc32(checked))


def _converse(tool: bool) -> dict[str, Any]:
    content = [{"toolUse": TOOL}] if tool else [{"text": ANSWER}]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use" if tool else "end_turn",
        "usage": USAGE,
        "metrics": {"latencyMs": 1},
    }


def _converse_events(tool: bool) -> list[tuple[str, dict[str, Any]]]:
    start = {"toolUse": {"toolUseId": TOOL["toolUseId"], "name": TOOL["name"]}} if tool else {}
    opened = [("contentBlockStart", {"contentBlockIndex": 0, "start": start})] if tool else []
    deltas = [{"toolUse": {"input": json.dumps(TOOL["input"])}}] if tool else [{"text": c} for c in _pieces()]
    return [
        ("messageStart", {"role": "assistant"}),
        *opened,
        *[("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas],
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "tool_use" if tool else "end_turn"}),
        ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}}),
    ]


def _claude(tool: bool) -> dict[str, Any]:
    used = {"type": "tool_use", "id": TOOL["toolUseId"], "name": TOOL["name"], "input": TOOL["input"]}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [used] if tool else [{"type": "text", "text": ANSWER}],
        "stop_reason": "tool_use" if tool else "end_turn",
        "usage": _claude_usage(),
    }


def _claude_usage() -> dict[str, int]:
    cached = {"cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}
    return {"input_tokens": 10, "output_tokens": 7, **cached}


def _claude_events(tool: bool) -> list[tuple[str, dict[str, Any]]]:
    block = {**_claude(True)["content"][0], "input": {}} if tool else {"type": "text", "text": ""}
    deltas = (
        [{"type": "input_json_delta", "partial_json": json.dumps(TOOL["input"])}]
        if tool
        else [{"type": "text_delta", "text": piece} for piece in _pieces()]
    )
    started = {**_claude(tool), "content": [], "stop_reason": None}
    metrics = {"inputTokenCount": 10, "outputTokenCount": 7}
    events = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *[{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use" if tool else "end_turn"},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics},
    ]
    return [("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}) for event in events]


def _pieces() -> list[str]:
    return [ANSWER[at : at + 20] for at in range(0, len(ANSWER), 20)]


class FakeBedrock:
    """A server on loopback.

    Args:
        url: Where it listens.
        headers: Those of each request so far.
    """

    def __init__(self, server: Any) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.headers: list[dict[str, str]] = server.headers_seen


@contextmanager
def running() -> Iterator[FakeBedrock]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.headers_seen = []
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield FakeBedrock(server)
    finally:
        server.shutdown()
        server.server_close()
