"""Mistral's `responses`: a call is one span, with what OpenAI's has."""

import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scripted_api
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import instrument, uninstrument, wrap_mistral

from .answers import SAID
from .surfaces import assert_error, assert_tool_call, attributes, collect, outcome, parts, run_in_session

pytest.importorskip("mistralai.client.responses", reason="mistralai before 3 has no responses")

CALLED = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "get_weather",
    "status": "completed",
}
CALLED["arguments"] = '{"city": "Paris"}'
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Sun."}],
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m-2",
    "status": "completed",
    "output": [THOUGHT, SAID, CALLED],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 19,
    },
}
EVENTS = [
    {"type": "response.created", "response": {**RESPONSE, "output": [], "status": "in_progress"}},
    {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 1,
        "content_index": 0,
        "delta": "Hel",
        "logprobs": [],
    },
    {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 1,
        "content_index": 0,
        "delta": "lo.",
        "logprobs": [],
    },
    {"type": "response.completed", "response": RESPONSE},
]
NUMBERED = [{**event, "sequence_number": number} for number, event in enumerate(EVENTS)]
ANSWERS = {"/v1/responses": RESPONSE, "/v1/responses#stream": scripted_api.events(*NUMBERED)}
TOOL = {"type": "function", "name": "get_weather", "description": "The weather.", "parameters": {}}
SURFACES: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "create": lambda client, asked: client.responses.create(**asked),
    "create, stream=True": lambda client, asked: client.responses.create(**asked, stream=True),
    "create_async": lambda client, asked: client.responses.create_async(**asked),
    "create_async, stream=True": lambda client, asked: client.responses.create_async(**asked, stream=True),
}


def ask(text: str) -> dict[str, Any]:
    return {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": text}],
        "instructions": "Be brief.",
        "tools": [TOOL],
        "temperature": 0.5,
    }


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


@pytest.fixture
async def make(api: str) -> Any:
    from mistralai.client import Mistral

    made: list[Any] = []

    def make() -> Any:
        made.append(Mistral(api_key="none", server_url=api))
        return made[-1]

    yield make
    for client in made:
        client.__exit__(None, None, None)
        await client.__aexit__(None, None, None)


@pytest.mark.parametrize("name", SURFACES)
async def test_an_answer_with_a_tool_call(make: Any, name: str, spans: Captured) -> None:
    plain = await outcome(SURFACES[name], make(), ask("Hello."))
    seen, span = await run_in_session(spans, SURFACES[name], wrap_mistral(make()), ask("Hello."))
    assert seen == plain
    assert seen[0] == "answer"
    found = attributes(span)
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.model": "m-2",
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }.items() <= found.items()
    assert [part["type"] for part in parts(span)] == ["reasoning", "text", "tool_call"]
    assert [part["content"] for part in parts(span)[:2]] == ["Sun.", "Hello."]
    assert_tool_call(span, "get_weather", {"city": "Paris"})
    assert [part["content"] for part in parts(span, "input")] == ["Hello."]
    assert json.loads(found["gen_ai.system_instructions"])[0]["content"] == "Be brief."
    assert json.loads(found["gen_ai.tool.definitions"])[0]["name"] == "get_weather"
    assert ("gen_ai.response.time_to_first_chunk" in found) == ("stream" in name)


@pytest.mark.parametrize("name", SURFACES)
async def test_an_error(make: Any, name: str, spans: Captured) -> None:
    seen, span = await run_in_session(spans, SURFACES[name], wrap_mistral(make()), ask("too many"))
    assert seen == await outcome(SURFACES[name], make(), ask("too many"))
    assert seen[1] == 429
    assert_error(span, seen[0])


@pytest.mark.parametrize("name", [name for name in SURFACES if "stream" in name])
async def test_a_stream_that_is_broken_off_has_what_was_read(make: Any, name: str, spans: Captured) -> None:
    await collect(SURFACES[name](wrap_mistral(make()), ask("Hello.")), limit=2)
    gc.collect()
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET
    assert [part["content"] for part in parts(span)] == ["Hel"]


def test_the_whole_process_is_traced_until_it_is_undone(make: Any, spans: Captured) -> None:
    client = make()
    instrument("mistral")
    try:
        client.responses.create(**ask("Hello."))
    finally:
        uninstrument("mistral")
    client.responses.create(**ask("Hello."))
    assert len(spans.spans) == 1
