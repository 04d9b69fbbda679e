"""What aimock has no answer to, as the providers' own APIs say it: refusals, errors in a stream and more."""

import json
from typing import Any

REFUSAL = "I cannot help with that."
# An item of OpenAI's and Mistral's responses.
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
}
_PIECES = ("I cannot help", " with that.")


def _events(*events: Any, named: bool = False, done: bool = False) -> str:
    name = (lambda event: f"event: {event['type']}\n") if named else (lambda _: "")
    lines = [f"{name(event)}data: {json.dumps(event)}\n\n" for event in events]
    return "".join(lines) + ("data: [DONE]\n\n" if done else "")


def _chat(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE}


def _chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {**_CHAT, "object": "chat.completion.chunk", "choices": [choice]}


_CHAT = {"id": "chatcmpl-1", "created": 1, "model": "gpt-5.4-nano"}
_CHAT_USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
_USAGE = {"input_tokens": 12, "output_tokens": 7, "total_tokens": 19}

_RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5.4-nano"}
_PART = {"type": "refusal", "refusal": REFUSAL}
_ITEM = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [_PART]}
_REFUSED = {**_RESPONSE, "status": "completed", "output": [_ITEM], "usage": _USAGE}
_AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-8"}
_MESSAGE_USAGE = {"input_tokens": 12, "output_tokens": 7}
_ENDED = {"stop_reason": "refusal", "stop_sequence": None}

_BLOCKED = {
    "promptFeedback": {"blockReason": "SAFETY"},
    "usageMetadata": {"promptTokenCount": 12, "totalTokenCount": 12},
}

_TEXT_COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "gpt-3.5-turbo-instruct",
}


def _text(text: str, reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
    return {**_TEXT_COMPLETION, "choices": [choice]}


ANSWER_PIECES = ("Hello, and a long en", "ough answer for seve", "ral chunks.")

_CALL = {
    "id": "call_1",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    "index": 0,
}
# Mistral's streams have a whole call in one chunk, and aimock's pieces of it, which the SDK refuses.
MISTRAL_CALL = _events(
    _chunk(role="assistant", content=""),
    {**_chunk("tool_calls", content="", tool_calls=[_CALL]), "usage": _CHAT_USAGE},
    done=True,
)

# The end of a path -> what is answered, for a stream with `#stream` behind it.
REFUSALS: dict[str, Any] = {
    "/chat/completions": _chat(content=None, refusal=REFUSAL),
    "/chat/completions#stream": _events(
        _chunk(role="assistant", content=None),
        *[_chunk(refusal=piece) for piece in _PIECES],
        _chunk("stop"),
        {**_chunk(), "choices": [], "usage": _CHAT_USAGE},
        done=True,
    ),
    "/responses": _REFUSED,
    "/responses#stream": _events(
        {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress", "output": []}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**_ITEM, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **_AT, "part": {**_PART, "refusal": ""}},
        *[{"type": "response.refusal.delta", **_AT, "delta": piece} for piece in _PIECES],
        {"type": "response.refusal.done", **_AT, "refusal": REFUSAL},
        {"type": "response.content_part.done", **_AT, "part": _PART},
        {"type": "response.output_item.done", "output_index": 0, "item": _ITEM},
        {"type": "response.completed", "response": _REFUSED},
        named=True,
    ),
    "/v1/messages": {
        **_MESSAGE,
        "content": [{"type": "text", "text": REFUSAL}],
        **_ENDED,
        "usage": _MESSAGE_USAGE,
    },
    "/v1/messages#stream": _events(
        {
            "type": "message_start",
            "message": {**_MESSAGE, "content": [], "stop_reason": None, "usage": _MESSAGE_USAGE},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in _PIECES
        ],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": _ENDED, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
        named=True,
    ),
    ":generateContent": _BLOCKED,
    ":streamGenerateContent": _BLOCKED,
    ":streamGenerateContent#stream": _events(_BLOCKED),
}
_SAYS = {"message": "slow down", "type": "server_error", "code": "overloaded"}
ERRORS = {
    "/completions": _events({"error": _SAYS}),
    "/responses": _events(
        {"type": "error", "code": "overloaded", "message": "slow down", "param": None, "sequence_number": 9},
        named=True,
    ),
    "/v1/messages": _events(
        {"type": "error", "error": {"type": "overloaded_error", "message": "slow down"}}, named=True
    ),
    ":streamGenerateContent": _events(
        {"error": {"code": 503, "message": "slow down", "status": "UNAVAILABLE"}}
    ),
}
WHOLE: dict[str, Any] = {
    "/v1/completions": {**_text("".join(ANSWER_PIECES), "stop"), "usage": _CHAT_USAGE},
    "/v1/completions#stream": _events(
        *[_text(piece) for piece in ANSWER_PIECES],
        _text("", "stop"),
        {**_text(""), "choices": [], "usage": _CHAT_USAGE},
        done=True,
    ),
    "/v1/embeddings": {
        "id": "1",
        "object": "list",
        "model": "mistral-embed",
        "usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
    },
    ":batchEmbedContents": {"embeddings": [{"values": [0.5, 0.25]}]},
    ":embedContent": {"embedding": {"values": [0.5, 0.25]}},
}
