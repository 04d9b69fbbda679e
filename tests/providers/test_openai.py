"""What `wrap_openai` promises for each surface of the openai package, against aimock."""

import gc
import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aimock import AIMock
from opentelemetry.trace import StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_openai

from .conftest import ANSWER
from .surfaces import (
    Surface,
    assert_answer,
    assert_error,
    assert_tool_call,
    attributes,
    close,
    collect,
    outcome,
    parts,
    run_in_session,
)

openai = pytest.importorskip("openai")

MODEL = "gpt-5.4-nano"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
USAGE = {"stream_options": {"include_usage": True}}

CHAT: dict[str, Surface] = {
    "chat.completions.create": lambda client, ask: client.chat.completions.create(**ask),
    "chat.completions.create, stream=True": (
        lambda client, ask: client.chat.completions.create(**ask, stream=True, **USAGE)
    ),
    "chat.completions.parse": lambda client, ask: client.chat.completions.parse(**ask),
    "chat.completions.stream": lambda client, ask: client.chat.completions.stream(**ask, **USAGE),
    "beta.chat.completions.create": lambda client, ask: client.beta.chat.completions.create(**ask),
    "beta.chat.completions.parse": lambda client, ask: client.beta.chat.completions.parse(**ask),
    "chat.completions.with_raw_response.create": (
        lambda client, ask: client.chat.completions.with_raw_response.create(**ask)
    ),
    "chat.completions.with_raw_response.create, stream=True": (
        lambda client, ask: client.chat.completions.with_raw_response.create(**ask, stream=True, **USAGE)
    ),
    "chat.completions.with_streaming_response.create": (
        lambda client, ask: client.chat.completions.with_streaming_response.create(**ask)
    ),
    "with_options().chat.completions.create": (
        lambda client, ask: client.with_options(timeout=9).chat.completions.create(**ask)
    ),
}
RESPONSES: dict[str, Surface] = {
    "responses.create": lambda client, ask: client.responses.create(**ask),
    "responses.create, stream=True": lambda client, ask: client.responses.create(**ask, stream=True),
    "responses.parse": lambda client, ask: client.responses.parse(**ask),
    "responses.stream": lambda client, ask: client.responses.stream(**ask),
    "responses.with_raw_response.create": (
        lambda client, ask: client.responses.with_raw_response.create(**ask)
    ),
}
SURFACES = CHAT | RESPONSES
STREAMS = [name for name in SURFACES if "stream" in name and "streaming_response" not in name]


def ask(name: str, prompt: str) -> dict[str, Any]:
    """The request of a surface: a tool is offered only where the prompt calls for one."""
    function = {
        "name": "get_weather",
        "parameters": {**SCHEMA, "additionalProperties": False},
        "strict": True,
    }
    if name in CHAT:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
        tools = [{"type": "function", "function": function}]
        asked: dict[str, Any] = {"model": MODEL, "messages": messages, "max_completion_tokens": 99}
    else:
        tools = [{"type": "function", **function}]
        asked = {"model": MODEL, "instructions": "Be brief.", "input": prompt, "max_output_tokens": 99}
    return asked | ({"tools": tools} if "weather" in prompt else {})


@pytest.fixture(params=["OpenAI", "AsyncOpenAI"])
async def make(request: pytest.FixtureRequest, mock: AIMock) -> Any:
    made: list[Any] = []

    def make() -> Any:
        made.append(getattr(openai, request.param)(base_url=f"{mock.url}/v1", api_key="none", max_retries=0))
        return made[-1]

    yield make
    await close(made)


@pytest.fixture
def client(mock: AIMock) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("name", SURFACES)
async def test_an_answer(make: Any, name: str, spans: Captured) -> None:
    request = ask(name, "Hello.")
    plain = await outcome(SURFACES[name], make(), request)
    seen, span = await run_in_session(spans, SURFACES[name], wrap_openai(make()), request)
    assert seen == plain, seen
    assert_answer(span, ANSWER, provider="openai", model=MODEL)
    found = attributes(span)
    assert "Hello." in found["gen_ai.input.messages"]
    assert "Be brief." in found["gen_ai.input.messages"] + found.get("gen_ai.system_instructions", "")
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (12, 7)
    assert found["gen_ai.request.max_tokens"] == 99
    assert ("gen_ai.response.time_to_first_chunk" in found) == (name in STREAMS)


@pytest.mark.parametrize("name", SURFACES)
async def test_a_tool_call(make: Any, name: str, spans: Captured) -> None:
    request = ask(name, "weather")
    plain = await outcome(SURFACES[name], make(), request)
    seen, span = await run_in_session(spans, SURFACES[name], wrap_openai(make()), request)
    assert seen == plain, seen
    assert_tool_call(span, "get_weather", {"city": "Paris"})
    assert "get_weather" in attributes(span)["gen_ai.tool.definitions"]


@pytest.mark.parametrize("name", SURFACES)
async def test_an_error_of_the_api(make: Any, name: str, spans: Captured) -> None:
    seen, span = await run_in_session(spans, SURFACES[name], wrap_openai(make()), ask(name, "too many"))
    assert seen == ("RateLimitError", 429)
    assert_error(span, "RateLimitError")


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_that_is_broken_off_is_no_failure(make: Any, name: str, spans: Captured) -> None:
    client = wrap_openai(make())
    await collect(SURFACES[name](client, ask(name, "Hello.")), limit=7)
    gc.collect()
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("kind", ["AzureOpenAI", "AsyncAzureOpenAI"])
@pytest.mark.parametrize("name", ["chat.completions.create", "chat.completions.stream"])
async def test_azure(mock: AIMock, name: str, kind: str, spans: Captured) -> None:
    client = getattr(openai, kind)(azure_endpoint=mock.url, api_version="2024-10-21", api_key="none")
    _, span = await run_in_session(spans, SURFACES[name], wrap_openai(client), ask(name, "Hello."))
    assert_answer(span, ANSWER, provider="azure.ai.openai", model=MODEL)
    await close([client])


async def test_embeddings(make: Any, spans: Captured) -> None:
    request = {"model": "text-embedding-3-small", "input": "embed", "dimensions": 8}
    plain = await outcome(lambda client, ask: client.embeddings.create(**ask), make(), request)
    seen, span = await run_in_session(
        spans, lambda client, ask: client.embeddings.create(**ask), wrap_openai(make()), request
    )
    assert seen == plain
    assert seen[0] == "answer"
    found = attributes(span)
    assert span.name == "embeddings text-embedding-3-small"
    assert found["gen_ai.operation.name"] == "embeddings"
    assert found["gen_ai.embeddings.dimension.count"] == 2


@pytest.mark.parametrize("streams", [False, True])
async def test_text_completions(spans: Captured, streams: bool) -> None:
    http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.split(".")[0])
    choice = {"index": 0, "text": "Paris.", "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-3.5-turbo-instruct"}
    text = json.dumps({**body, "choices": [choice], "usage": usage})
    whole = {"headers": {"content-type": "application/json"}, "text": text}
    events = {
        "headers": {"content-type": "text/event-stream"},
        "text": f"data: {text}\n\ndata: [DONE]\n\n",
    }

    def answer(_: Any) -> Any:
        return http.Response(200, **(events if streams else whole))

    request = {"model": "gpt-3.5-turbo-instruct", "prompt": "The capital of France is"}
    for kind, default in (("OpenAI", "DefaultHttpxClient"), ("AsyncOpenAI", "DefaultAsyncHttpxClient")):
        http_client = getattr(openai, default)(transport=http.MockTransport(answer))
        client = wrap_openai(getattr(openai, kind)(api_key="none", http_client=http_client))
        await collect(client.completions.create(**request, stream=streams))
        await close([client])
    for span in spans.spans:
        found = attributes(span)
        assert span.name == "text_completion gpt-3.5-turbo-instruct"
        assert [part["content"] for part in parts(span, "input")] == ["The capital of France is"]
        assert [part["content"] for part in parts(span)] == ["Paris."]
        assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (5, 2)
        assert found["server.address"] == "api.openai.com"
    assert len(spans.spans) == 2


def test_labels_hold_for_all_calls_of_a_client_and_of_its_copies(client: Any, spans: Captured) -> None:
    wrap_openai(client, session_id="mine", user_id="ada", tags=["a"], metadata={"tier": 1})
    with session("around"):
        client.chat.completions.create(**ask("chat.completions.create", "Hello."))
        client.with_options(timeout=5).responses.create(model="gpt-5.4-nano", input="Hello.")
    assert_session(spans.spans, "mine")
    for span in spans.spans:
        found = attributes(span)
        assert found["user.id"] == "ada"
        assert found["pandaprobe.tags"] == ("a",)
        assert found["pandaprobe.metadata"] == '{"tier": 1}'


def test_the_labels_of_a_client_hold_for_what_reading_its_stream_starts(client: Any, spans: Captured) -> None:
    wrap_openai(client, session_id="mine")
    stream = client.chat.completions.create(**ask("chat.completions.create", "Hello."), stream=True)
    underneath = stream.response.iter_bytes

    def traced(*args: Any) -> Any:
        spans.tracer.start_span("reading").end()
        return underneath(*args)

    stream.response.iter_bytes = traced
    with session("around"):
        list(stream)
        spans.tracer.start_span("between").end()
    reading, *_ = [span for span in spans.spans if span.name == "reading"]
    (between,) = [span for span in spans.spans if span.name == "between"]
    assert (attributes(reading)["session.id"], attributes(between)["session.id"]) == ("mine", "around")


def test_other_labels_replace_those_of_before_and_none_keep_them(client: Any, spans: Captured) -> None:
    wrap_openai(wrap_openai(client, session_id="old", tags=["a"]), session_id="new")
    wrap_openai(client).chat.completions.create(**ask("chat.completions.create", "Hello."))
    (span,) = spans.spans
    assert attributes(span)["session.id"] == "new"
    assert "pandaprobe.tags" not in attributes(span)


def test_the_whole_process_is_traced_until_it_is_undone(client: Any, spans: Captured) -> None:
    request = ask("chat.completions.create", "Hello.")
    instrument("openai")
    try:
        client.chat.completions.create(**request)
        wrap_openai(client, session_id="mine").chat.completions.create(**request)
        list(client.chat.completions.create(**request, stream=True))
        assert [parts(span)[0]["content"] for span in spans.spans] == [ANSWER] * 3
        assert_session(spans.spans[1:], "mine")
    finally:
        uninstrument("openai")
    spans.spans.clear()
    unwrap(client).chat.completions.create(**request)
    assert spans.spans == []
