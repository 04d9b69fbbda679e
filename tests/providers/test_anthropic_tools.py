"""`beta.messages.tool_runner`: each request of its loop is a span, and each tool that it runs is one."""

import gc
import json
from typing import Any

import pytest
import scripted
from faulty import Step, each_step_failing
from opentelemetry.trace import StatusCode

from pandaprobe_otel import runtime, session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import _tools, instrument, uninstrument, unwrap, wrap_anthropic

from .surfaces import attributes, close

anthropic = pytest.importorskip("anthropic")
if not hasattr(anthropic, "beta_tool"):
    pytest.skip("this version has no tool_runner", allow_module_level=True)

CALL = {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}}
HEAD = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
USAGE = {"input_tokens": 12, "output_tokens": 7}
ASKS = {**HEAD, "stop_reason": "tool_use", "content": [CALL], "usage": USAGE}
TELLS = {**HEAD, "stop_reason": "end_turn", "content": [{"type": "text", "text": "Sunny."}], "usage": USAGE}
ASKED: dict[str, Any] = {
    "model": "m",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "weather"}],
    "max_iterations": 3,
}
REQUEST, TOOL = "chat m", "execute_tool get_weather"


def events(message: dict[str, Any]) -> list[tuple[str, Any]]:
    """A message as it is streamed."""
    (content,) = message["content"]
    empty = {**content, "input": {}} if content["type"] == "tool_use" else {**content, "text": ""}
    piece = (
        {"type": "input_json_delta", "partial_json": json.dumps(content["input"])}
        if content["type"] == "tool_use"
        else {"type": "text_delta", "text": content["text"]}
    )
    made = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": piece},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop"},
    ]
    return [(event["type"], event) for event in made]


class Loop:
    """A loop over two answers: one that asks for a tool, and one that ends it."""

    def __init__(self, spans: Captured, asynchronous: bool, streamed: bool = False) -> None:
        self.asynchronous = asynchronous
        self.streamed = streamed
        self.below: list[Any] = []

        def get_weather(city: str) -> str:
            """The weather."""
            with spans.tracer.start_as_current_span("inside") as inside:
                self.below.append(inside)
            if city == "nowhere":
                raise LookupError(city)
            return f"sunny in {city}"

        async def get_weather_later(city: str) -> str:
            """The weather."""
            return get_weather(city)

        make = anthropic.beta_async_tool if asynchronous else anthropic.beta_tool
        self.tool = make(get_weather_later if asynchronous else get_weather, name="get_weather")

    def client(self, url: str, **more: Any) -> Any:
        kind = anthropic.AsyncAnthropic if self.asynchronous else anthropic.Anthropic
        return kind(base_url=url, api_key="none", max_retries=0, **more)

    async def run(self, client: Any) -> list[str]:
        """What the model said, and what the tools said."""
        more = {"stream": True} if self.streamed else {}
        runner = client.beta.messages.tool_runner(**ASKED, **more, tools=[self.tool])
        said: list[str] = []
        if self.asynchronous:
            async for message in runner:
                said.append(await self.text(message))
                said += self.results(await runner.generate_tool_call_response())
        else:
            for message in runner:
                said.append(await self.text(message))
                said += self.results(runner.generate_tool_call_response())
        return said

    async def text(self, message: Any) -> str:
        if self.streamed:
            message = message.get_final_message()
            message = await message if self.asynchronous else message
        return "".join(getattr(block, "text", "?") for block in message.content)

    def results(self, response: Any) -> list[str]:
        return [str(result["content"]) for result in (response or {}).get("content", ())]

    def answers(self, api: scripted.Scripted, asks: dict[str, Any] = ASKS) -> None:
        api.answers(asks, TELLS)
        if self.streamed:
            bodies = [
                "".join(f"event: {kind}\ndata: {json.dumps(event)}\n\n" for kind, event in events(one))
                for one in (asks, TELLS)
            ]
            api._answers = [(200, "text/event-stream", [body.encode()], False) for body in bodies]


@pytest.fixture(params=["sync", "async", "sync stream", "async stream"])
def loop(request: pytest.FixtureRequest, spans: Captured) -> Loop:
    return Loop(spans, "async" in request.param, "stream" in request.param)


async def test_each_request_and_each_run_of_a_tool_is_a_span(
    api: scripted.Scripted, loop: Loop, spans: Captured
) -> None:
    plain, client = loop.client(api.url), wrap_anthropic(loop.client(api.url))
    loop.answers(api)
    expected = await loop.run(plain)
    spans.spans.clear()
    loop.answers(api)
    with session("tools"), spans.tracer.start_as_current_span("around") as around:
        assert await loop.run(client) == expected == ["?", "sunny in Paris", "Sunny."]
    gc.collect()
    await close([plain, client])
    inside, *made = sorted(spans.spans, key=lambda span: span.name != "inside")
    assert sorted(span.name for span in made) == sorted([REQUEST, TOOL, REQUEST, "around"])
    assert_session(made, "tools")
    (tool,) = [span for span in made if span.name == TOOL]
    found = attributes(tool)
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"city": "Paris"}
    assert found["gen_ai.tool.call.result"] == "sunny in Paris"
    assert (found["gen_ai.tool.name"], found["gen_ai.tool.description"]) == ("get_weather", "The weather.")
    assert all(span.parent == around.get_span_context() for span in made if span.name != "around")
    # What the loop leaves unset, which it says with a value of its own.
    assert not [span for span in made if "gen_ai.request.temperature" in attributes(span)]
    assert inside.parent == tool.get_span_context()


async def test_a_tool_that_fails_is_an_error_and_the_loop_goes_on(
    api: scripted.Scripted, loop: Loop, spans: Captured
) -> None:
    client = wrap_anthropic(loop.client(api.url))
    loop.answers(api, {**ASKS, "content": [{**CALL, "input": {"city": "nowhere"}}]})
    assert (await loop.run(client))[-1] == "Sunny."
    await close([client])
    gc.collect()
    (tool,) = [span for span in spans.spans if span.name == TOOL]
    assert tool.status.status_code is StatusCode.ERROR
    assert attributes(tool)["error.type"].endswith("LookupError")
    assert len([span for span in spans.spans if span.name == REQUEST]) == 2


async def test_a_request_that_is_refused_is_an_error(
    api: scripted.Scripted, loop: Loop, spans: Captured
) -> None:
    client = wrap_anthropic(loop.client(api.url))
    error = {"type": "rate_limit_error", "message": "slow down"}
    api.answers({"type": "error", "error": error}, status=429)
    with pytest.raises(anthropic.RateLimitError):
        await loop.run(client)
    await close([client])
    (span,) = spans.spans
    assert attributes(span)["error.type"].endswith("RateLimitError")


async def test_the_whole_process_is_traced_until_it_is_undone(
    api: scripted.Scripted, loop: Loop, spans: Captured
) -> None:
    client = loop.client(api.url)
    instrument("anthropic")
    try:
        loop.answers(api)
        await loop.run(client)
    finally:
        uninstrument("anthropic")
    gc.collect()
    assert sorted(span.name for span in spans.spans) == sorted([REQUEST, "inside", TOOL, REQUEST])
    spans.spans.clear()
    loop.answers(api)
    await loop.run(client)
    await close([client])
    assert [span.name for span in spans.spans] == ["inside"]


async def test_unwrapping_ends_it(api: scripted.Scripted, loop: Loop, spans: Captured) -> None:
    client = unwrap(wrap_anthropic(loop.client(api.url)))
    loop.answers(api)
    await loop.run(client)
    await close([client])
    assert [span.name for span in spans.spans] == ["inside"]


async def test_no_content_where_it_is_not_wanted(
    api: scripted.Scripted, loop: Loop, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    client = wrap_anthropic(loop.client(api.url))
    loop.answers(api)
    await loop.run(client)
    await close([client])
    assert "Paris" not in json.dumps([attributes(span) for span in spans.spans])


async def test_spans_of_the_sdk_stand_for_the_runs_where_they_arrive_too(
    api: scripted.Scripted, loop: Loop, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", spans.tracer_provider)
    client = wrap_anthropic(loop.client(api.url))
    if not getattr(client, "open_telemetry", None):
        pytest.skip("this version makes no spans of its own")
    assert runtime.tracer_provider() is spans.tracer_provider
    loop.answers(api)
    with session("tools"):
        await loop.run(client)
    gc.collect()
    await close([client])
    tools = [span for span in spans.spans if attributes(span).get("gen_ai.operation.name") == "execute_tool"]
    (tool,) = tools
    assert tool.name == "anthropic.custom_tool_use get_weather"
    found = attributes(tool)
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"city": "Paris"}
    assert json.loads(found["gen_ai.tool.call.result"]) == "sunny in Paris"
    assert_session(tools, "tools")
    assert len([span for span in spans.spans if span.name == REQUEST]) == 2


@pytest.mark.parametrize("step", each_step_failing(_tools), ids=str)
async def test_no_fault_of_it_reaches_the_caller(api: scripted.Scripted, step: Step, spans: Captured) -> None:
    for asynchronous in (False, True):
        loop = Loop(spans, asynchronous)
        client = wrap_anthropic(loop.client(api.url))
        loop.answers(api)
        with step.failing():
            assert await loop.run(client) == ["?", "sunny in Paris", "Sunny."]
        assert len(loop.below) == 1
        await close([client])
