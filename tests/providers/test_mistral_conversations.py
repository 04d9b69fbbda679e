"""Conversations that Mistral keeps: each request of one makes one span."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import scripted_api
from faulty import Step, each_step_failing

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import _mistral_conversations, instrument, uninstrument, unwrap, wrap_mistral

from .surfaces import assert_error, assert_tool_call, attributes, collect, outcome, parts, run_in_session

try:
    from mistralai.client import Mistral
except ImportError:
    Mistral = pytest.importorskip("mistralai").Mistral

# The SDK loads what reads docstrings, which warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:ast.*:DeprecationWarning")

USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
SAID = {"object": "entry", "type": "message.output", "role": "assistant", "model": "m", "content": "Hello."}
CALLED = {
    "object": "entry",
    "type": "function.call",
    "tool_call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"city": "Paris"}',
}
STREAMED = scripted_api.events(
    {"type": "conversation.response.started", "conversation_id": "conv_1"},
    {"type": "message.output.delta", "id": "1", "content": "Hel", "model": "m"},
    {"type": "message.output.delta", "id": "1", "content": "lo.", "model": "m"},
    {
        "type": "function.call.delta",
        "id": "2",
        "tool_call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city": "Paris"}',
    },
    {"type": "conversation.response.done", "usage": USAGE},
)
WHOLE = {
    "object": "conversation.response",
    "conversation_id": "conv_1",
    "outputs": [SAID, CALLED],
    "usage": USAGE,
}
ENDS = {"start": "/v1/conversations", "append": "/conversations/conv_1", "restart": "/conv_1/restart"}
ANSWERS = dict.fromkeys(ENDS.values(), WHOLE)
STREAMS = {f"{end}#stream": STREAMED for end in ENDS.values()}
REQUESTS: dict[str, dict[str, Any]] = {
    "start": {"model": "m", "instructions": "Be brief."},
    "append": {"conversation_id": "conv_1"},
    "restart": {"conversation_id": "conv_1", "from_entry_id": "e"},
}
METHODS = [
    f"{method}{stream}{awaited}"
    for method in REQUESTS
    for stream in ("", "_stream")
    for awaited in ("", "_async")
]


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running({**ANSWERS, **STREAMS}) as url:
        yield url


@pytest.fixture
async def client(api: str) -> Any:
    made = Mistral(api_key="none", server_url=api)
    yield made
    unwrap(made)
    made.__exit__(None, None, None)
    await made.__aexit__(None, None, None)


def call(name: str) -> Any:
    return lambda client, asked: getattr(client.beta.conversations, name)(**asked)


def request(name: str, text: str) -> dict[str, Any]:
    return {**REQUESTS[name.partition("_")[0]], "inputs": text, "completion_args": {"temperature": 0.5}}


@pytest.mark.parametrize("name", METHODS)
async def test_an_answer_with_a_tool_call(client: Any, name: str, spans: Captured) -> None:
    asked = request(name, "Hello.")
    plain = await outcome(call(name), client, asked)
    seen, span = await run_in_session(spans, call(name), wrap_mistral(client), asked)
    assert seen == plain
    assert seen[0] == "answer"
    found = attributes(span)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.request.temperature"] == 0.5
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (12, 7)
    assert found["gen_ai.response.model"] == "m"
    assert "Hello." in found["gen_ai.input.messages"]
    assert ("Be brief." in found["gen_ai.input.messages"]) == name.startswith("start")
    assert parts(span)[0] == {"type": "text", "content": "Hello."}
    assert_tool_call(span, "get_weather", {"city": "Paris"})
    assert ("gen_ai.response.time_to_first_chunk" in found) == ("stream" in name)


@pytest.mark.parametrize("name", METHODS)
async def test_an_error_of_the_api(client: Any, name: str, spans: Captured) -> None:
    seen, span = await run_in_session(spans, call(name), wrap_mistral(client), request(name, "too many"))
    assert seen[1] == 429
    assert_error(span, seen[0])


async def test_a_stream_that_is_broken_off_has_what_was_read(client: Any, spans: Captured) -> None:
    with wrap_mistral(client).beta.conversations.start_stream(**request("start", "Hello.")) as stream:
        await collect(stream, limit=2)
    (span,) = spans.spans
    assert parts(span) == [{"type": "text", "content": "Hel"}]


def test_the_result_of_a_function_is_a_message_of_its_tool(client: Any, spans: Captured) -> None:
    result = {"type": "function.result", "tool_call_id": "call_1", "result": "sunny"}
    wrap_mistral(client).beta.conversations.append(conversation_id="conv_1", inputs=[result])
    (message,) = json.loads(attributes(spans.spans[0])["gen_ai.input.messages"])
    assert (message["role"], message["parts"][0]["response"]) == ("tool", "sunny")


async def test_each_request_of_a_run_makes_a_span(spans: Captured) -> None:
    run = pytest.importorskip("mistralai.extra.run.context")

    def get_weather(city: str) -> str:
        return "sunny"

    ends = {"/conversations": {**WHOLE, "outputs": [CALLED]}, "/conv_1": {**WHOLE, "outputs": [SAID]}}
    with scripted_api.running(ends) as url:
        made = wrap_mistral(Mistral(api_key="none", server_url=url))
        async with run.RunContext(model="m") as context:
            context.register_func(get_weather)
            await made.beta.conversations.run_async(run_ctx=context, inputs="Hello.")
        await made.__aexit__(None, None, None)
    assert [part["type"] for span in spans.spans for part in parts(span)] == ["tool_call", "text"]


async def test_each_function_of_a_run_has_the_span_that_the_sdk_makes(
    spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pytest.importorskip("mistralai.extra.run.context")
    # Where it makes them.
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", spans.tracer_provider)

    def get_weather(city: str) -> str:
        return f"sunny in {city}"

    ends = {"/conversations": {**WHOLE, "outputs": [CALLED]}, "/conv_1": {**WHOLE, "outputs": [SAID]}}
    with scripted_api.running(ends) as url, session("tools"):
        made = wrap_mistral(Mistral(api_key="none", server_url=url))
        async with run.RunContext(model="m") as context:
            context.register_func(get_weather)
            await made.beta.conversations.run_async(run_ctx=context, inputs="Hello.")
        await made.__aexit__(None, None, None)
    assert_session(spans.spans, "tools")
    called = [span for span in spans.spans if attributes(span).get("gen_ai.operation.name") == "execute_tool"]
    (tool,) = called
    found = attributes(tool)
    assert found["gen_ai.tool.name"] == "get_weather"
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"city": "Paris"}
    assert found["gen_ai.tool.call.result"] == "sunny in Paris"
    requests = [span for span in spans.spans if attributes(span).get("gen_ai.operation.name") == "chat"]
    assert len(requests) == 2


def test_the_whole_process_is_traced_until_it_is_undone(client: Any, spans: Captured) -> None:
    instrument("mistral")
    try:
        client.beta.conversations.start(**request("start", "Hello."))
    finally:
        uninstrument("mistral")
    client.beta.conversations.start(**request("start", "Hello."))
    assert len(spans.spans) == 1


@pytest.mark.parametrize("step", each_step_failing(_mistral_conversations), ids=str)
async def test_no_fault_of_it_reaches_the_caller(client: Any, step: Step, spans: Captured) -> None:
    for name in METHODS[:4]:
        plain = await outcome(call(name), unwrap(client), request(name, "Hello."))
        with step.failing():
            assert await outcome(call(name), wrap_mistral(client), request(name, "Hello.")) == plain, name
