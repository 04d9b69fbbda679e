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
REFUSAL = "I cannot help with that."
USAGE = {"inputTokens": 10, "outputTokens": 7, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 3}
TOOL = {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "Paris"}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else an answer in two pieces takes 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.headers_seen.append(dict(self.headers))  # type: ignore[attr-defined]
        operation = self.path.rpartition("/")[2]
        if "too many" in asked:
            self._send(429, {"message": "slow down"}, {"x-amzn-errortype": "ThrottlingException"})
        elif operation == "converse":
            self._send(200, _converse(asked))
        elif operation == "count-tokens":
            self._send(200, {"inputTokens": 12})
        elif operation == "apply":
            self._send(200, {"action": "NONE", "outputs": [{"text": "fine"}], "assessments": []})
        elif operation == "invoke":
            self._send(200, {"inputTextTokenCount": 3} if "inputText" in asked else _claude(asked))
        elif operation == "converse-stream":
            self._stream(_converse_events(asked), breaks="fail midway" in asked)
        else:
            self._stream(_claude_events(asked), breaks="fail midway" in asked)

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


def _asks_tool(asked: str) -> bool:
    return "What weather" in asked


def _text(asked: str) -> str:
    return REFUSAL if "refuse me" in asked else ANSWER


def _reason(asked: str, refusal: str) -> str:
    return refusal if "refuse me" in asked else "tool_use" if _asks_tool(asked) else "end_turn"


def _converse(asked: str) -> dict[str, Any]:
    content = [{"toolUse": TOOL}] if _asks_tool(asked) else [{"text": _text(asked)}]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _reason(asked, "guardrail_intervened"),
        "usage": USAGE,
        "metrics": {"latencyMs": 1},
    }


def _converse_events(asked: str) -> list[tuple[str, dict[str, Any]]]:
    tool = _asks_tool(asked)
    start = {"toolUse": {"toolUseId": TOOL["toolUseId"], "name": TOOL["name"]}} if tool else {}
    opened = [("contentBlockStart", {"contentBlockIndex": 0, "start": start})] if tool else []
    deltas = (
        [{"toolUse": {"input": json.dumps(TOOL["input"])}}] if tool else [{"text": c} for c in _pieces(asked)]
    )
    return [
        ("messageStart", {"role": "assistant"}),
        *opened,
        *[("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas],
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": _reason(asked, "guardrail_intervened")}),
        ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}}),
    ]


def _claude(asked: str) -> dict[str, Any]:
    used = {"type": "tool_use", "id": TOOL["toolUseId"], "name": TOOL["name"], "input": TOOL["input"]}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [used] if _asks_tool(asked) else [{"type": "text", "text": _text(asked)}],
        "stop_reason": _reason(asked, "refusal"),
        "usage": _claude_usage(),
    }


def _claude_usage() -> dict[str, int]:
    cached = {"cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}
    return {"input_tokens": 10, "output_tokens": 7, **cached}


def _claude_events(asked: str) -> list[tuple[str, dict[str, Any]]]:
    tool = _asks_tool(asked)
    block = {**_claude(asked)["content"][0], "input": {}} if tool else {"type": "text", "text": ""}
    deltas = (
        [{"type": "input_json_delta", "partial_json": json.dumps(TOOL["input"])}]
        if tool
        else [{"type": "text_delta", "text": piece} for piece in _pieces(asked)]
    )
    started = {**_claude(asked), "content": [], "stop_reason": None}
    metrics = {"inputTokenCount": 10, "outputTokenCount": 7}
    events = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *[{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": _reason(asked, "refusal")},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics},
    ]
    return [("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}) for event in events]


def _pieces(asked: str) -> list[str]:
    text = _text(asked)
    return [text[at : at + 20] for at in range(0, len(text), 20)]


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
