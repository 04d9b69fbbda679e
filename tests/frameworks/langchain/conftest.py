"""What the model answers, and agents that ask it."""

from typing import Any

import pytest


def _usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written}


def _calls(name: str, arguments: str, id: str) -> dict[str, Any]:
    return {"toolCalls": [{"name": name, "arguments": arguments, "id": id}]}


@pytest.fixture(scope="session")
def scripts() -> list[dict[str, Any]]:
    return [
        {
            "match": {"userMessage": "weather", "hasToolResult": False},
            "response": {**_calls("get_weather", '{"city":"Paris"}', "call_1"), "usage": _usage(50, 7)},
        },
        {
            "match": {"userMessage": "weather", "hasToolResult": True},
            "response": {"content": "It is sunny in Paris.", "usage": _usage(64, 6)},
        },
        {
            "match": {"userMessage": "broken", "hasToolResult": False},
            "response": {**_calls("fail", "{}", "call_2"), "usage": _usage(40, 5)},
        },
        {
            "match": {"userMessage": "approve", "hasToolResult": False},
            "response": {**_calls("book", '{"city":"Rome"}', "call_3"), "usage": _usage(41, 5)},
        },
        {
            "match": {"userMessage": "approve", "hasToolResult": True},
            "response": {"content": "Rome is booked.", "usage": _usage(60, 4)},
        },
        {
            "match": {"userMessage": "delegate", "hasToolResult": False},
            "response": {**_calls("ask_expert", '{"question":"hello"}', "call_4"), "usage": _usage(42, 8)},
        },
        {
            "match": {"userMessage": "delegate", "hasToolResult": True},
            "response": {"content": "The expert says hi.", "usage": _usage(61, 5)},
        },
        {
            "match": {"userMessage": "limited"},
            "response": {"error": {"message": "Slow down.", "type": "rate_limit_error"}, "status": 429},
        },
        {"match": {"userMessage": "hello"}, "response": {"content": "Hi there.", "usage": _usage(12, 3)}},
    ]
