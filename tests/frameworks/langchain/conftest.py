"""What the model answers."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_openai import ChatOpenAI

from pandaprobe_otel.integrations import _langchain

from ..conftest import Models


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
            "match": {"userMessage": "give the task", "hasToolResult": False},
            "response": {
                **_calls("task", '{"description":"hello","subagent_type":"expert"}', "call_5"),
                "usage": _usage(43, 9),
            },
        },
        {
            "match": {"userMessage": "give the task", "hasToolResult": True},
            "response": {"content": "The expert says hi.", "usage": _usage(62, 5)},
        },
        {
            "match": {"userMessage": "limited"},
            "response": {"error": {"message": "Slow down.", "type": "rate_limit_error"}, "status": 429},
        },
        {"match": {"userMessage": "hello"}, "response": {"content": "Hi there.", "usage": _usage(12, 3)}},
    ]


@pytest.fixture
def model(models: Models) -> ChatOpenAI:
    # A connection that is kept belongs to the event loop of one test.
    http = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))
    return ChatOpenAI(
        model="gpt-4o", base_url=models.openai, api_key="none", max_retries=0, http_async_client=http
    )


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    assert _langchain._open_runs()._invocations == {}
