"""What the model answers."""

from typing import Any

import pytest


def _usage(read: int, written: int) -> dict[str, int]:
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "input_tokens": read,
        "output_tokens": written,
    }


def _calls(name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"toolCalls": [{"name": name, "arguments": arguments, "id": f"call_{name}"}]}


@pytest.fixture(scope="session")
def scripts() -> list[dict[str, Any]]:
    def loop(question: str, call: dict[str, Any], answer: str) -> list[dict[str, Any]]:
        match = {"userMessage": question}
        return [
            {"match": {**match, "hasToolResult": False}, "response": {**call, "usage": _usage(50, 7)}},
            {
                "match": {**match, "hasToolResult": True},
                "response": {"content": answer, "usage": _usage(64, 6)},
            },
        ]

    limited = {"error": {"message": "Slow down.", "type": "rate_limit_error"}, "status": 429}
    return [
        *loop("weather", _calls("get_weather", '{"city":"Paris"}'), "It is sunny in Paris."),
        *loop("bill", _calls("transfer_to_billing"), "Billing here."),
        *loop("broken", _calls("fail"), "It failed."),
        *loop("approve", _calls("book", '{"city":"Rome"}'), "Rome is booked."),
        *loop("delegate", _calls("ask_expert", '{"input":"hello"}'), "The expert says hi."),
        {"match": {"userMessage": "limited"}, "response": limited},
        {"match": {"userMessage": "hello"}, "response": {"content": "Hi there.", "usage": _usage(12, 3)}},
    ]
