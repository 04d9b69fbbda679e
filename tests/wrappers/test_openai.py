"""What `wrap_openai` promises, with the real client over real HTTP."""

import asyncio
import gc
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from pandaprobe_otel import attributes, guard, runtime
from pandaprobe_otel.local.fake_openai import ANSWERS, FakeOpenAI
from pandaprobe_otel.wrappers import unwrap, wrap_openai

from .conftest import Collector

openai = pytest.importorskip("openai")

QUESTION, ANSWER = next(iter(ANSWERS.items()))
MESSAGES: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
CALL: dict[str, Any] = {"model": "gpt-5.4-nano", "messages": MESSAGES}
STREAM: dict[str, Any] = {**CALL, "stream": True, "stream_options": {"include_usage": True}}
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.fixture
def client(api: FakeOpenAI) -> Iterator[Any]:
    with openai.OpenAI(base_url=api.base_url, api_key="none", max_retries=0) as made:
        yield wrap_openai(made)


@pytest.fixture
async def async_client(api: FakeOpenAI) -> Any:
    async with openai.AsyncOpenAI(base_url=api.base_url, api_key="none", max_retries=0) as made:
        yield wrap_openai(made)


@pytest.fixture
def official() -> Iterator[Collector]:
    """OpenTelemetry's own instrumentation, active for the whole process with a provider of its own."""
    theirs = Collector()
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=theirs.tracer_provider)
    yield theirs
    instrumentor.uninstrument()


def client_answering(answer: Callable[[], tuple[str, str]]) -> Any:
    """A wrapped client of an API that gives one answer: its content type and body."""
    # The SDK's own HTTP library: httpx up to openai 2, httpx2 after.
    http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.split(".")[0])

    def respond(_: Any) -> Any:
        content_type, body = answer()
        return http.Response(200, headers={"content-type": content_type}, text=body)

    transport = http.MockTransport(respond)
    http_client = openai.DefaultHttpxClient(transport=transport)
    return wrap_openai(openai.OpenAI(api_key="none", max_retries=0, http_client=http_client))


def content_of(span: ReadableSpan, key: str) -> list[tuple[str, str]]:
    """Role and text of each message on a span."""
    messages = json.loads(str((span.attributes or {})[key]))
    return [(message["role"], "".join(part["content"] for part in message["parts"])) for message in messages]


def assert_chat(span: ReadableSpan, answer: str = ANSWER) -> None:
    assert content_of(span, attributes.GEN_AI_INPUT_MESSAGES) == [("system", "Be brief."), ("user", QUESTION)]
    assert content_of(span, attributes.GEN_AI_OUTPUT_MESSAGES) == [("assistant", answer)]


# A call


def test_a_call_makes_one_span_with_request_answer_and_usage(client: Any, spans: Collector) -> None:
    answer = client.chat.completions.create(**CALL, reasoning_effort="low", max_completion_tokens=80)
    assert answer.choices[0].message.content == ANSWER
    span = spans.only
    assert (span.name, span.kind, span.status.status_code) == (
        "chat gpt-5.4-nano",
        trace.SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert_chat(span)
    found = dict(span.attributes or {})
    assert {
        attributes.GEN_AI_OPERATION_NAME: "chat",
        attributes.GEN_AI_PROVIDER_NAME: "openai",
        attributes.GEN_AI_REQUEST_MODEL: "gpt-5.4-nano",
        attributes.GEN_AI_RESPONSE_MODEL: "gpt-5.4-nano",
        "gen_ai.request.max_tokens": 80,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": answer.id,
        "server.address": "127.0.0.1",
        attributes.GEN_AI_USAGE_INPUT_TOKENS: answer.usage.prompt_tokens,
        attributes.GEN_AI_USAGE_OUTPUT_TOKENS: answer.usage.completion_tokens,
        attributes.GEN_AI_USAGE_REASONING_TOKENS: answer.usage.completion_tokens_details.reasoning_tokens,
    }.items() <= found.items()
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "pandaprobe_otel.wrappers.openai"


async def test_an_async_call_makes_the_same_span(async_client: Any, spans: Collector) -> None:
    await async_client.chat.completions.create(**CALL)
    assert_chat(spans.only)


def test_a_call_is_a_child_of_the_current_span(client: Any, spans: Collector) -> None:
    with spans.tracer.start_as_current_span("turn") as turn:
        client.chat.completions.create(**CALL)
        assert trace.get_current_span() is turn
    assert spans.all[0].parent == turn.get_span_context()


def test_a_structured_answer_is_traced(spans: Collector) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    completion = {**_completion(), "choices": [_choice('{"name": "Paris"}')]}
    client = client_answering(lambda: ("application/json", json.dumps(completion)))
    for resource in (client.chat.completions, client.beta.chat.completions):
        parsed = resource.parse(**CALL, response_format=City)
        assert parsed.choices[0].message.parsed == City(name="Paris")
        assert_chat(spans.only, '{"name": "Paris"}')
        spans.exporter.clear()


def test_messages_may_be_a_generator(client: Any, spans: Collector) -> None:
    answer = client.chat.completions.create(model="gpt-5.4-nano", messages=(message for message in MESSAGES))
    assert answer.choices[0].message.content == ANSWER
    assert_chat(spans.only)


def test_raw_responses_are_traced_and_stay_raw(client: Any, spans: Collector) -> None:
    raw = client.chat.completions.with_raw_response.create(**CALL)
    assert raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content == ANSWER
    assert_chat(spans.only)


def test_raw_responses_are_traced_when_their_view_is_older_than_the_wrapper(
    api: FakeOpenAI, spans: Collector
) -> None:
    with openai.OpenAI(base_url=api.base_url, api_key="none") as client:
        _ = client.chat.completions.with_raw_response, client.with_raw_response.chat.completions
        wrap_openai(client)
        client.chat.completions.with_raw_response.create(**CALL)
        client.with_raw_response.chat.completions.create(**CALL)
    assert len(spans.all) == 2


async def test_streaming_responses_of_an_async_client_are_traced_and_stay_unparsed(
    async_client: Any, spans: Collector
) -> None:
    async with async_client.chat.completions.with_streaming_response.create(**CALL) as response:
        assert (await response.json())["choices"][0]["message"]["content"] == ANSWER
    assert_chat(spans.only)


def test_azure_clients_are_traced(api: FakeOpenAI, spans: Collector) -> None:
    endpoint = api.base_url.removesuffix("/v1")
    with wrap_openai(
        openai.AzureOpenAI(azure_endpoint=endpoint, api_key="none", api_version="2024-10-21")
    ) as client:
        client.chat.completions.create(**CALL)
    assert_chat(spans.only)


def test_embeddings_and_responses_are_traced_by_the_official_patches(spans: Collector) -> None:
    embedding = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    body = {"object": "list", "model": "text-embedding-3-small", "data": [embedding], "usage": usage}
    client = client_answering(lambda: ("application/json", json.dumps(body)))
    client.embeddings.create(model="text-embedding-3-small", input="Paris", encoding_format="float")
    assert spans.only.name == "embeddings text-embedding-3-small"
    assert (spans.only.attributes or {})[attributes.GEN_AI_USAGE_INPUT_TOKENS] == 3
    spans.exporter.clear()

    text = {"type": "output_text", "text": ANSWER, "annotations": []}
    message = {"type": "message", "id": "1", "role": "assistant", "status": "completed", "content": [text]}
    response = {"id": "1", "object": "response", "model": "gpt-5.4-nano", "output": [message]}
    client = client_answering(lambda: ("application/json", json.dumps(response)))
    client.responses.create(model="gpt-5.4-nano", instructions="Be brief.", input=QUESTION)
    assert spans.only.name == "chat gpt-5.4-nano"
    assert content_of(spans.only, attributes.GEN_AI_OUTPUT_MESSAGES) == [("assistant", ANSWER)]


# Streams


def test_a_stream_makes_one_span_with_the_whole_answer_and_the_time_to_the_first_chunk(
    client: Any, spans: Collector
) -> None:
    chunks = list(client.chat.completions.create(**STREAM))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert_chat(spans.only)
    found = dict(spans.only.attributes or {})
    assert found[attributes.GEN_AI_USAGE_OUTPUT_TOKENS] == chunks[-1].usage.completion_tokens
    assert 0 < float(str(found[attributes.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK])) < 60
    assert found["gen_ai.request.stream"] is True


async def test_an_async_stream_makes_the_same_span(async_client: Any, spans: Collector) -> None:
    async for _ in await async_client.chat.completions.create(**STREAM):
        pass
    assert_chat(spans.only)
    assert attributes.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK in (spans.only.attributes or {})


def test_the_span_of_a_stream_is_not_current_between_its_chunks(client: Any, spans: Collector) -> None:
    for _ in client.chat.completions.create(**STREAM):
        assert trace.get_current_span() is trace.INVALID_SPAN
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_stream_keeps_what_a_stream_has(client: Any, spans: Collector) -> None:
    stream = client.chat.completions.create(**STREAM)
    assert isinstance(stream, openai.Stream)
    assert stream.response.status_code == 200
    stream.close()
    assert len(spans.all) == 1


def test_leaving_the_block_of_a_stream_ends_its_span(client: Any, spans: Collector) -> None:
    with client.chat.completions.create(**STREAM) as stream:
        next(iter(stream))
        assert spans.all == []
    assert spans.only.status.status_code is StatusCode.UNSET


async def test_leaving_the_block_of_an_async_stream_ends_it(async_client: Any, spans: Collector) -> None:
    async with await async_client.chat.completions.create(**STREAM) as stream:
        await anext(aiter(stream))
        assert spans.all == []
    assert spans.only.status.status_code is StatusCode.UNSET


def test_an_error_of_the_reader_is_the_error_of_the_span(client: Any, spans: Collector) -> None:
    def read() -> None:
        with client.chat.completions.create(**STREAM) as stream:
            raise KeyError(next(iter(stream)).id)

    with pytest.raises(KeyError):
        read()
    assert spans.only.status.status_code is StatusCode.ERROR


def test_an_abandoned_stream_ends_its_span_and_the_next_call_is_not_its_child(
    client: Any, spans: Collector
) -> None:
    for _ in client.chat.completions.create(**STREAM):
        break
    gc.collect()
    assert spans.only.status.status_code is StatusCode.UNSET
    client.chat.completions.create(**CALL)
    assert spans.all[-1].parent is None


async def test_an_abandoned_async_stream_ends_its_span(async_client: Any, spans: Collector) -> None:
    stream = await async_client.chat.completions.create(**STREAM)
    await anext(aiter(stream))
    response = stream.response
    del stream
    gc.collect()
    assert spans.only.status.status_code is StatusCode.UNSET
    await response.aclose()


def test_the_stream_helper_is_traced(client: Any, spans: Collector) -> None:
    with client.chat.completions.stream(**CALL) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == ANSWER
    assert_chat(spans.only)


async def test_the_async_stream_helper_is_traced(async_client: Any, spans: Collector) -> None:
    async with async_client.chat.completions.stream(**CALL) as stream:
        await stream.until_done()
    assert_chat(spans.only)


def test_a_raw_stream_is_traced_once_it_is_parsed(client: Any, spans: Collector) -> None:
    raw = client.chat.completions.with_raw_response.create(**STREAM)
    assert raw.headers["x-request-id"]
    for _ in raw.parse():
        pass
    assert_chat(spans.only)


# Errors


@pytest.mark.parametrize(("status", "error"), [(429, "RateLimitError"), (500, "InternalServerError")])
def test_an_error_of_the_api_is_raised_unchanged_and_marks_the_span(
    client: Any, spans: Collector, status: int, error: str
) -> None:
    with pytest.raises(getattr(openai, error)) as caught:
        client.chat.completions.create(**{**CALL, "model": f"error-{status}"})
    assert caught.value.status_code == status
    assert spans.only.status.status_code is StatusCode.ERROR
    assert (spans.only.attributes or {})[attributes.ERROR_TYPE] == f"openai.{error}"


async def test_an_error_of_the_api_marks_an_async_span(async_client: Any, spans: Collector) -> None:
    with pytest.raises(openai.RateLimitError):
        await async_client.chat.completions.create(**{**STREAM, "model": "error-429"})
    assert spans.only.status.status_code is StatusCode.ERROR


def test_an_api_that_cannot_be_reached_marks_the_span(spans: Collector) -> None:
    nowhere = "http://127.0.0.1:1/v1"
    client = wrap_openai(openai.OpenAI(base_url=nowhere, api_key="none", max_retries=0))
    with client, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**CALL)
    assert spans.only.status.status_code is StatusCode.ERROR


async def test_a_cancelled_call_ends_its_span(async_client: Any, spans: Collector) -> None:
    call = asyncio.create_task(async_client.chat.completions.create(**CALL))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert spans.only.status.status_code is StatusCode.ERROR


def test_a_stream_that_we_cannot_read_reaches_the_user_whole(
    spans: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "loud", False)
    # Some compatible APIs leave out the index.
    call = {"id": "call_1", "type": "function", "function": {"name": "secret_tool", "arguments": "{}"}}
    choice = {"index": 0, "delta": {"tool_calls": [call]}}
    chunk = {**_completion("chat.completion.chunk"), "choices": [choice]}
    body = f"data: {json.dumps(chunk)}\n\ndata: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    client = client_answering(lambda: ("text/event-stream", body))
    chunks = list(client.chat.completions.create(**STREAM))
    assert [chunk.choices[0].delta.tool_calls[0].function.name for chunk in chunks] == ["secret_tool"] * 2
    assert spans.only.status.status_code is StatusCode.UNSET
    assert {record.name for record in caplog.records} == {"pandaprobe_otel"}
    assert "secret_tool" not in caplog.text


# Which clients, and when


def test_only_the_wrapped_client_is_traced(client: Any, api: FakeOpenAI, spans: Collector) -> None:
    with openai.OpenAI(base_url=api.base_url, api_key="none") as other:
        other.chat.completions.create(**CALL)
    assert spans.all == []


def test_the_same_client_comes_back_and_wrapping_twice_makes_one_span(client: Any, spans: Collector) -> None:
    assert wrap_openai(client) is client
    client.chat.completions.create(**CALL)
    client.beta.chat.completions.create(**CALL)
    assert len(spans.all) == 2


def test_copies_of_a_wrapped_client_are_traced(client: Any, spans: Collector) -> None:
    client.with_options(timeout=5).copy(max_retries=1).chat.completions.create(**CALL)
    assert_chat(spans.only)


def test_an_unwrapped_client_is_as_it_was(api: FakeOpenAI, spans: Collector) -> None:
    with openai.OpenAI(base_url=api.base_url, api_key="none") as client:
        create = client.chat.completions.create
        assert unwrap(wrap_openai(client)) is client
        assert client.chat.completions.create == create
        assert "create" not in vars(client.chat.completions)
        for resource in (client.chat, client.beta.chat, client.with_options(timeout=5).chat):
            resource.completions.create(**CALL)
        client.chat.completions.with_raw_response.create(**CALL)
    assert spans.all == []


def test_unwrapping_keeps_a_method_that_the_user_had_replaced(api: FakeOpenAI) -> None:
    with openai.OpenAI(base_url=api.base_url, api_key="none") as client:

        def mine(**_: Any) -> str:
            return "mine"

        client.chat.completions.create = mine
        assert wrap_openai(client).chat.completions.create(**CALL) == "mine"
        assert unwrap(client).chat.completions.create is mine


def test_a_span_goes_to_the_client_that_is_active_when_it_starts(client: Any) -> None:
    before = runtime.active()
    first, second = Collector(), Collector()
    for collector in (first, second):
        runtime.activate(collector)
        client.chat.completions.create(**CALL)
    runtime.activate(before)
    assert (len(first.all), len(second.all)) == (1, 1)


@pytest.mark.usefixtures("switched_off")
def test_nothing_is_traced_while_pandaprobe_is_off(client: Any) -> None:
    assert client.chat.completions.create(**CALL).choices[0].message.content == ANSWER
    with client.chat.completions.create(**STREAM) as stream:
        assert type(stream) is openai.Stream
        assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.usefixtures("switched_off")
def test_other_instrumentations_go_on_while_pandaprobe_is_off(official: Collector, client: Any) -> None:
    client.with_options().chat.completions.create(**CALL)
    assert len(official.all) == 1


def test_suppressed_instrumentation_is_respected(client: Any, spans: Collector) -> None:
    with suppress_instrumentation():
        client.chat.completions.create(**CALL)
    assert spans.all == []


def test_beside_the_official_instrumentation_a_call_makes_one_span(
    official: Collector, spans: Collector, api: FakeOpenAI
) -> None:
    with wrap_openai(openai.OpenAI(base_url=api.base_url, api_key="none")) as client:
        client.chat.completions.create(**CALL)
        for _ in client.chat.completions.create(**STREAM):
            pass
        for _ in client.chat.completions.with_raw_response.create(**STREAM).parse():
            pass
        with client.chat.completions.stream(**CALL) as stream:
            stream.until_done()
    assert len(spans.all) == 4
    for span in spans.all:
        assert_chat(span)
    assert official.all == []


async def test_beside_the_official_instrumentation_an_async_call_makes_one_span(
    official: Collector, spans: Collector, api: FakeOpenAI
) -> None:
    async with wrap_openai(openai.AsyncOpenAI(base_url=api.base_url, api_key="none")) as client:
        await client.chat.completions.create(**CALL)
        async for _ in await client.chat.completions.create(**STREAM):
            pass
    assert len(spans.all) == 2
    assert official.all == []


# Content


@pytest.mark.parametrize("mode", ["NO_CONTENT", "EVENT_ONLY"])
def test_the_users_word_on_content_wins(
    api: FakeOpenAI, spans: Collector, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv(CONTENT, mode)
    with wrap_openai(openai.OpenAI(base_url=api.base_url, api_key="none")) as client:
        client.chat.completions.create(**CALL)
    found = spans.only.attributes or {}
    assert attributes.GEN_AI_USAGE_INPUT_TOKENS in found
    assert attributes.GEN_AI_INPUT_MESSAGES not in found
    assert attributes.GEN_AI_OUTPUT_MESSAGES not in found


# Wrong use


@pytest.mark.parametrize("given", [None, "sk-secret", openai, openai.OpenAI, object()])
def test_anything_but_a_client_is_refused_with_the_fix(given: Any) -> None:
    with pytest.raises(TypeError, match=r"write wrap_openai\(openai\.OpenAI\(\)\)") as caught:
        wrap_openai(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("missing", ["openai", "opentelemetry.instrumentation.genai.openai.patch"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    client: Any, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'pandaprobe-otel\[openai\]'"):
        wrap_openai(client)


def test_the_wrappers_load_no_provider_before_one_is_used() -> None:
    program = (
        "import sys, pandaprobe_otel.wrappers as w; 'wrap_openai' in dir(w) or sys.exit('no wrap_openai');"
        "sys.exit('openai' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# What of OpenTelemetry's betas is used without being documented


def test_a_name_that_moved_costs_spans_but_no_calls(
    api: FakeOpenAI, spans: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    patch = importlib.import_module("opentelemetry.instrumentation.genai.openai.patch")
    monkeypatch.delattr(patch, "chat_completions_create_v_new")
    with wrap_openai(openai.OpenAI(base_url=api.base_url, api_key="none")) as client:
        assert client.chat.completions.create(**CALL).choices[0].message.content == ANSWER
    assert spans.all == []
    (record,) = caplog.records
    assert "Upgrade pandaprobe-otel" in record.getMessage()


def _completion(kind: str = "chat.completion") -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt-5.4-nano"}


def _choice(content: str) -> dict[str, Any]:
    return {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
