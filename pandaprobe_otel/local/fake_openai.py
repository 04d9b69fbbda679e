"""An OpenAI API on loopback, for the demo, the examples and tests: real HTTP, the same answers each time.

It knows `POST …/chat/completions`, also as a stream, and `GET …/models`. It calls the tools of `CALLS` where
they are given, and says what they gave. A model named `error-<status>`, such as `error-429`, answers with
that error.
"""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, TypeVar, cast
from uuid import uuid4

ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "What about Germany?": "The capital of Germany is Berlin.",
    "Which of those two cities has more people?": (
        "Berlin has more people: about 3.7 million, against about 2.1 million in Paris."
    ),
}
# Question -> the tool that is called for it, and its arguments.
CALLS = {
    "What is the weather in Paris?": ("get_weather", {"city": "Paris"}),
    "Ask the geographer about France.": (
        "task",
        {"description": "What is the capital of France?", "subagent_type": "geographer"},
    ),
}
OTHER_ANSWER = "I am a stand-in for a model: I know the capitals of France and Germany, and nothing else."

_MODELS = ("gpt-5.4-nano", "gpt-5.4-mini")
# Tokens spent on thinking, by `reasoning_effort`.
_REASONING = {"none": 0, "minimal": 0, "low": 16, "medium": 48, "high": 128}
_ERROR_TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 429: "rate_limit_error"}

Json = dict[str, Any]
T = TypeVar("T")


class FakeOpenAI:
    """A server for the `base_url` of an OpenAI client, running while its `with` block does.

        with FakeOpenAI() as fake:
            client = openai.OpenAI(base_url=fake.base_url, api_key="none")

    Args:
        port: Port on 127.0.0.1; 0 takes a free one.
        latency: Seconds before an answer, and in a stream before its first word.
    """

    def __init__(self, port: int = 0, latency: float = 0.0) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.latency = latency
        self._thread = threading.Thread(target=self._server.serve_forever, name="fake-openai", daemon=True)

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` takes."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "FakeOpenAI":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    latency = 0.0
    # Clients keep their connections open; nobody waits for those.
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves a stream early is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it a small write waits for the acknowledgement of the last: 40 ms for each word of a stream.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Answers `GET …/models`."""
        if self.path.endswith("/models"):
            self._send(200, {"object": "list", "data": [_model(name) for name in _MODELS]})
        else:
            self._refuse(404, f"Unknown request URL: GET {self.path}.")

    def do_POST(self) -> None:
        """Answers `POST …/chat/completions`."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        # Azure's clients add `?api-version=`.
        if not self.path.split("?")[0].endswith("/chat/completions"):
            return self._refuse(404, f"Unknown request URL: POST {self.path}.")
        try:
            request = cast(Json, json.loads(body))
            model, messages = str(request["model"]), cast(list[Json], request["messages"])
            answer, call = answer_to(messages), _call_for(messages, request.get("tools") or [])
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._refuse(400, "A chat completion takes a JSON object with a model and messages.")
        time.sleep(cast(_Server, self.server).latency)
        if model.startswith("error-") and model.removeprefix("error-").isdigit():
            return self._refuse(
                int(model.removeprefix("error-")), f"The model {model} was asked for this error."
            )
        usage = _usage(messages, "" if call else answer, str(request.get("reasoning_effort") or "medium"))
        if not request.get("stream"):
            return self._send(200, _completion(model, answer, call, usage))
        wants_usage = bool(cast(Json, request.get("stream_options") or {}).get("include_usage"))
        return self._stream(_chunks(model, answer, call, usage if wants_usage else None))

    def _refuse(self, status: int, message: str) -> None:
        error = {
            "message": message,
            "type": _ERROR_TYPES.get(status, "server_error"),
            "param": None,
            "code": None,
        }
        self._send(status, {"error": error})

    def _send(self, status: int, answer: Json) -> None:
        body = json.dumps(answer).encode()
        self._head(status, "application/json", ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def _stream(self, chunks: Iterator[Json]) -> None:
        self._head(200, "text/event-stream", ("Transfer-Encoding", "chunked"))
        for data in (*map(json.dumps, chunks), "[DONE]"):
            event = f"data: {data}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: int, content_type: str, length: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("x-request-id", f"req_{uuid4().hex}")
        self.send_header(*length)
        self.end_headers()


def answer_to(messages: list[Json]) -> str:
    """What the model says to a conversation: what a tool gave, or else it goes by the user's last message."""
    if messages and messages[-1].get("role") == "tool":
        return _text(messages[-1])
    asked = [_text(message) for message in messages if message.get("role") == "user"]
    return _known(ANSWERS, asked[-1] if asked else "") or OTHER_ANSWER


def _call_for(messages: list[Json], tools: list[Json]) -> Json | None:
    last = messages[-1] if messages else {}
    name, arguments = _known(CALLS, _text(last) if last.get("role") == "user" else "") or ("", {})
    if name not in [cast(Json, tool.get("function") or {}).get("name") for tool in tools]:
        return None
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{uuid4().hex}", "type": "function", "function": function}


def _known(answers: dict[str, T], asked: str) -> T | None:
    # Frameworks put words of their own around a question.
    return next((answer for question, answer in answers.items() if question in asked), None)


def _text(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in cast(list[Json], content))
    return str(content or "")


def _tokens(text: str) -> int:
    # English text has some 4 characters to a token.
    return -(-len(text) // 4)


def _usage(messages: list[Json], answer: str, effort: str) -> Json:
    # The chat format adds 3 tokens to a message and 3 to the answer.
    prompt = 3 + sum(3 + _tokens(_text(message)) for message in messages)
    reasoning = _REASONING.get(effort, 0)
    completion = reasoning + _tokens(answer)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _completion(model: str, answer: str, call: Json | None, usage: Json) -> Json:
    message: Json = {"role": "assistant", "content": answer, "refusal": None, "annotations": []}
    if call:
        message |= {"content": None, "tool_calls": [call]}
    reason = "tool_calls" if call else "stop"
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {**_envelope("chat.completion", model), "choices": [choice], "usage": usage}


def _chunks(model: str, answer: str, call: Json | None, usage: Json | None) -> Iterator[Json]:
    envelope = _envelope("chat.completion.chunk", model)
    first, *rest = answer.split(" ")
    said: list[Json] = [{"content": first}, *({"content": f" {word}"} for word in rest)]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"tool_calls": [{"index": 0, **call}]}] if call else said
    for delta in (*deltas, {}):
        reason = None if delta else "tool_calls" if call else "stop"
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        yield {**envelope, "choices": [choice], **({"usage": None} if usage else {})}
    if usage:
        yield {**envelope, "choices": [], "usage": usage}


def _envelope(kind: str, model: str) -> Json:
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": "fake"}
