"""Spans of this process, collected, and a mock of the providers to make them with."""

import gc
from collections.abc import Iterator
from typing import Any

import aimock
import bedrock_fake
import pytest
import scripted

from pandaprobe_otel.testing import Captured, capture

from . import provider_api

WEATHER = {"userMessage": "weather"}
CALL = {"name": "get_weather", "arguments": '{"city":"Paris"}', "id": "call_1"}
ANSWER = "Hello, and a long enough answer for several chunks."
FIXTURES: list[dict[str, Any]] = [
    {"match": {**WEATHER, "hasToolResult": False}, "response": {"toolCalls": [CALL]}},
    {"match": {**WEATHER, "hasToolResult": True}, "response": {"content": "It is sunny."}},
    {"match": {"userMessage": "think"}, "response": {"content": "Four.", "reasoning": "Two and two."}},
    {
        "match": {"userMessage": "too many"},
        "response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429},
    },
    {"match": {"userMessage": "json"}, "response": {"content": '{"city": "Paris"}'}},
    {"match": {"inputText": "embed"}, "response": {"embedding": [0.25, 0.5]}},
    {"match": {}, "response": {"content": ANSWER, "usage": {"prompt_tokens": 12, "completion_tokens": 7}}},
]


@pytest.fixture(scope="session")
def mock() -> Iterator[aimock.AIMock]:
    with aimock.running(FIXTURES) as running:
        yield running


@pytest.fixture
def spans() -> Iterator[Captured]:
    with capture() as captured:
        yield captured


@pytest.fixture(scope="module")
def provider_server(mock: aimock.AIMock) -> Iterator[provider_api.ProviderAPI]:
    with (
        bedrock_fake.running() as bedrock,
        provider_api.running({"/model/": bedrock.url, "/": mock.url}) as running,
    ):
        yield running


@pytest.fixture(scope="session", autouse=True)
def _quick_garbage() -> Iterator[None]:
    """Leaves the SDKs' own objects out of each collection, which takes 0.3 s with them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def api() -> Iterator[scripted.Scripted]:
    with scripted.running() as running:
        yield running
