"""`ResponsesToolRunner` of openai: each request of its loop is a span, and each run of a function is one."""

import gc
import json
from typing import Any

import pytest
import scripted
from faulty import Step, each_step_failing
from opentelemetry.trace import StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import _openai_runner, instrument, uninstrument, unwrap, wrap_openai

from .surfaces import attributes, close
from .test_openai_others import RESPONSE, SAID

openai = pytest.importorskip("openai")
runners = pytest.importorskip("openai.lib.responses_tool_runner", reason="older ones have no such runner")

CALLED = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"city": "Paris"}',
    "status": "completed",
}
ASKED: dict[str, Any] = {"model": "m", "input": "weather"}
TOOL_SPEC = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
REQUEST, TOOL = "chat m", "execute_tool get_weather"


class Loop:
    """A loop over two answers: one that asks for a function, and one that ends it."""

    def __init__(self, spans: Captured, asynchronous: bool, streamed: bool) -> None:
        self.asynchronous = asynchronous
        self.streamed = streamed
        self.ran = 0

        def get_weather(arguments: dict[str, Any]) -> str:
            self.ran += 1
            with spans.tracer.start_as_current_span("inside"):
                return f"sunny in {arguments['city']}"

        async def get_weather_later(arguments: dict[str, Any]) -> str:
            return get_weather(arguments)

        function, runner = (
            (runners.AsyncRegisteredFunction, runners.AsyncResponsesToolRunner)
            if asynchronous
            else (runners.RegisteredFunction, runners.ResponsesToolRunner)
        )
        execute = get_weather_later if asynchronous else get_weather
        self.runner = runner(functions=[function(TOOL_SPEC, execute)])

    def client(self, url: str) -> Any:
        kind = openai.AsyncOpenAI if self.asynchronous else openai.OpenAI
        return kind(base_url=url, api_key="none", max_retries=0)

    def answers(self, api: scripted.Scripted, city: str = "Paris") -> None:
        arguments = json.dumps({"city": city})
        bodies = [{**RESPONSE, "output": output} for output in ([{**CALLED, "arguments": arguments}], [SAID])]
        api.answers(*bodies)
        if self.streamed:
            api._answers = [(200, "text/event-stream", [self.events(body)], False) for body in bodies]

    def events(self, body: dict[str, Any]) -> bytes:
        begun = {**body, "output": [], "status": "in_progress"}
        (item,) = body["output"]
        made: list[dict[str, Any]] = [
            {"type": "response.created", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": body},
        ]
        numbered = ({**event, "sequence_number": number} for number, event in enumerate(made))
        return "".join(f"data: {json.dumps(event)}\n\n" for event in numbered).encode()

    async def run(self, client: Any) -> str:
        answer = self.runner.run(client, ASKED, max_steps=3, stream=self.streamed)
        return (await answer if self.asynchronous else answer).output_text


@pytest.fixture(params=["sync", "async", "sync stream", "async stream"])
def loop(request: pytest.FixtureRequest, spans: Captured) -> Loop:
    return Loop(spans, "async" in request.param, "stream" in request.param)


async def test_each_request_and_each_run_of_a_function_is_a_span(
    api: scripted.Scripted, loop: Loop, spans: Captured
) -> None:
    client = wrap_openai(loop.client(api.url))
    loop.answers(api)
    with session("tools"), spans.tracer.start_as_current_span("around") as around:
        assert await loop.run(client) == "Hello."
    await close([client])
    gc.collect()
    made = [span for span in spans.spans if span.name not in ("inside", "around")]
    assert sorted(span.name for span in made) == sorted([REQUEST, TOOL, REQUEST])
    assert_session(made, "tools")
    assert all(span.parent == around.get_span_context() for span in made)
    (tool,) = [span for span in made if span.name == TOOL]
    found = attributes(tool)
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"city": "Paris"}
    assert found["gen_ai.tool.call.result"] == "sunny in Paris"
    assert found["gen_ai.tool.description"] == "The weather."
    (inside,) = [span for span in spans.spans if span.name == "inside"]
    assert inside.parent == tool.get_span_context()


async def test_a_function_that_fails_is_an_error_and_ends_the_run_as_it_would(
    api: scripted.Scripted, loop: Loop, spans: Captured
) -> None:
    plain, client = loop.client(api.url), wrap_openai(loop.client(api.url))
    loop.streamed = False
    for made in (plain, client):
        api.answers({**RESPONSE, "output": [{**CALLED, "arguments": '{"town": "Paris"}'}]})
        with pytest.raises(runners.ToolRunnerError):
            await loop.run(made)
    await close([plain, client])
    (tool,) = [span for span in spans.spans if span.name == TOOL]
    assert tool.status.status_code is StatusCode.ERROR
    assert attributes(tool)["error.type"] == "KeyError"


async def test_other_clients_stay_as_they_are(api: scripted.Scripted, loop: Loop, spans: Captured) -> None:
    wrapped, other = wrap_openai(loop.client(api.url)), loop.client(api.url)
    loop.answers(api)
    await loop.run(other)
    loop.answers(api)
    await loop.run(unwrap(wrapped))
    await close([wrapped, other])
    assert [span.name for span in spans.spans] == ["inside", "inside"]


async def test_the_whole_process_is_traced_until_it_is_undone(
    api: scripted.Scripted, loop: Loop, spans: Captured
) -> None:
    client = loop.client(api.url)
    instrument("openai")
    try:
        loop.answers(api)
        await loop.run(client)
    finally:
        uninstrument("openai")
    gc.collect()
    assert sorted(span.name for span in spans.spans) == sorted([REQUEST, "inside", TOOL, REQUEST])
    spans.spans.clear()
    loop.answers(api)
    await loop.run(client)
    await close([client])
    assert [span.name for span in spans.spans] == ["inside"]


@pytest.mark.parametrize("step", each_step_failing(_openai_runner), ids=str)
async def test_no_fault_of_it_reaches_the_caller(api: scripted.Scripted, step: Step, spans: Captured) -> None:
    for asynchronous in (False, True):
        loop = Loop(spans, asynchronous, False)
        client = loop.client(api.url)
        loop.answers(api)
        with step.failing():
            assert await loop.run(wrap_openai(client)) == "Hello."
        assert loop.ran == 1
        await close([client])
