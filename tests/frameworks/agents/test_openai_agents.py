"""What `OpenAIAgentsAdapter` promises, with the real SDK and models over real HTTP."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import agents
import openai
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    input_guardrail,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from pandaprobe_receiver import Courier
from span_tree import named, tree

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import attributes, runtime
from pandaprobe_otel.integrations.openai_agents import OpenAIAgentsAdapter
from pandaprobe_otel.testing import assert_session
from pandaprobe_otel.wrappers import wrap_openai

from ..conftest import Models, Spans

FRAMEWORK = "OpenAI Agents SDK"

RUN = [
    "invoke_workflow Agent workflow",
    "  invoke_agent desk",
    "    guardrail no_evil",
    "    chat gpt-4o",
    "    execute_tool get_weather",
    "    chat gpt-4o",
]
HELLO_RUN = RUN[:4]
QUESTION = "What is the weather in Paris?"


@pytest.fixture(autouse=True)
def _nothing_to_openai() -> None:
    """As with `OPENAI_API_KEY` unset: the SDK's own exporter is not ours to test."""
    agents.set_trace_processors([])


@pytest.fixture(params=[OpenAIResponsesModel, OpenAIChatCompletionsModel], ids=["responses", "chat"])
async def model(request: pytest.FixtureRequest, models: Models) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=models.openai, api_key="none", max_retries=0) as client:
        yield request.param("gpt-4o", client)


@pytest.fixture
def desk(model: Any, spans: Spans) -> Agent[Any]:
    @function_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        spans.tracer.start_span("in the tool").end()
        return f"sunny in {city}"

    @function_tool
    def fail() -> str:
        """Always fails."""
        raise LookupError("no such thing")

    @function_tool(needs_approval=True)
    def book(city: str) -> str:
        """Books a trip."""
        return f"{city} is booked"

    @input_guardrail
    def no_evil(context: Any, agent: Any, question: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, tripwire_triggered="evil" in str(question))

    expert = Agent("expert", model=model)
    return Agent(
        "desk",
        model=model,
        tools=[get_weather, fail, book, expert.as_tool("ask_expert", "Asks the expert.")],
        handoffs=[Agent("billing", model=model)],
        input_guardrails=[no_evil],
    )


@pytest.fixture
def adapter() -> Any:
    with OpenAIAgentsAdapter() as adapter:
        yield adapter


def group(id: str) -> RunConfig:
    return RunConfig(group_id=id)


def steps(spans: Spans) -> list[str]:
    """The tree without what the user's own code makes."""
    return tree(span for span in spans.ended if span.name != "in the tool")


def statuses(spans: Spans) -> dict[str, StatusCode]:
    return {span.name: span.status.status_code for span in spans.ended}


def text(span: ReadableSpan, key: str) -> str:
    (message,) = json.loads(str((span.attributes or {})[key]))
    return "".join(part["content"] for part in message["parts"])


def turns(spans: Spans) -> set[Any]:
    return {(span.attributes or {}).get(attributes.PANDAPROBE_TRACE_ID) for span in spans.ended}


@pytest.mark.parametrize("streamed", [False, True], ids=["run", "run_streamed"])
@pytest.mark.scenario("tool", "stream")
async def test_run_is_one_tree_in_the_session_of_its_group(
    streamed: bool, desk: Agent[Any], adapter: Any, spans: Spans, models: Models
) -> None:
    if streamed:
        result = Runner.run_streamed(desk, QUESTION, run_config=group("group-1"))
        spans.tracer.start_span("consumer").end()
        async for _ in result.stream_events():
            pass
    else:
        await Runner.run(desk, QUESTION, run_config=group("group-1"))
    if streamed:
        consumer = spans._captured.spans.pop(0)
        spans.started -= 1
        assert consumer.parent is None
    assert tree(spans.ended) == [*RUN[:5], "      in the tool", RUN[5]]
    assert_session(spans.ended, "group-1")
    entry = named(spans.ended, RUN[0])
    assert (entry.attributes or {})["gen_ai.conversation.id"] == "group-1"
    assert text(entry, attributes.GEN_AI_INPUT_MESSAGES) == QUESTION
    assert text(entry, attributes.GEN_AI_OUTPUT_MESSAGES) == "It is sunny in Paris."
    told = named(spans.ended, "execute_tool get_weather").attributes or {}
    assert json.loads(str(told[attributes.GEN_AI_TOOL_CALL_ARGUMENTS])) == {"city": "Paris"}
    assert told[attributes.GEN_AI_TOOL_CALL_RESULT] == "sunny in Paris"
    assert set(statuses(spans).values()) == {StatusCode.UNSET}
    assert len(turns(spans)) == 1
    if not streamed:
        assert spans.tokens() == models.served() == (114, 13)


@pytest.mark.scenario("what REST gets")
async def test_pandaprobe_gets_the_turn_with_its_steps(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    await Runner.run(desk, QUESTION, run_config=group("group-1"))
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    turn = courier.receiver.named(RUN[0])
    assert (turn["session_id"], turn["status"]) == ("group-1", "COMPLETED")
    assert turn["input"] == {"messages": [{"role": "user", "content": QUESTION}]}
    assert turn["output"]["messages"][0]["content"] == "It is sunny in Paris."
    found = sorted(turn["spans"].values(), key=lambda step: step["started_at"])
    assert [step["kind"] for step in found if step["name"] != "in the tool"] == [
        *("AGENT", "OTHER", "LLM", "TOOL", "LLM")
    ]
    assert sum(step["token_usage"]["prompt_tokens"] for step in found if step["token_usage"]) == 114


@pytest.mark.scenario("two turns with memory")
async def test_turns_with_one_memory_are_traces_of_its_session(
    desk: Agent[Any], adapter: Any, spans: Spans
) -> None:
    with closing(SQLiteSession("memory-1")) as memory:
        await Runner.run(desk, QUESTION, session=memory)
        await Runner.run(desk, "hello", session=memory)
    assert steps(spans) == [*RUN, *HELLO_RUN]
    assert_session(spans.ended, "memory-1")
    assert len(turns(spans)) == 2
    entries = [span for span in spans.ended if span.name == RUN[0]]
    assert [text(entry, attributes.GEN_AI_INPUT_MESSAGES) for entry in entries] == [QUESTION, "hello"]


@pytest.mark.scenario("conversations at once")
async def test_runs_at_the_same_time_stay_apart(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    ids = [f"group-{number}" for number in range(6)]
    await asyncio.gather(*(Runner.run(desk, QUESTION, run_config=group(id)) for id in ids))
    for id in ids:
        mine = [span for span in spans.ended if (span.attributes or {})["session.id"] == id]
        assert tree(span for span in mine if span.name != "in the tool") == RUN


@pytest.mark.scenario("every source of the session")
async def test_parameter_is_stronger_than_a_block_and_a_block_than_the_group(
    desk: Agent[Any], spans: Spans
) -> None:
    async def session() -> set[Any]:
        before = len(spans.ended)
        await Runner.run(desk, "hello", run_config=group("group-1"))
        return {(span.attributes or {}).get("session.id") for span in spans.ended[before:]}

    with pandaprobe.session("block"):
        labels: Any = {"user_id": "ada", "tags": ["beta"], "metadata": {"plan": "free"}}
        with OpenAIAgentsAdapter(session_id="parameter", **labels):
            assert await session() == {"parameter"}
        with OpenAIAgentsAdapter():
            assert await session() == {"block"}
    with OpenAIAgentsAdapter():
        assert await session() == {"group-1"}
    entry = next(span for span in spans.ended if span.name == RUN[0]).attributes or {}
    assert (entry["user.id"], entry[attributes.PANDAPROBE_TAGS]) == ("ada", ("beta",))
    assert entry[attributes.PANDAPROBE_METADATA] == '{"plan": "free"}'
    assert entry["gen_ai.conversation.id"] == "group-1"


@pytest.mark.scenario("inside a trace")
async def test_run_inside_a_trace_is_a_part_of_it(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    with pandaprobe.session("block"), pandaprobe.start_trace("turn") as turn:
        await Runner.run(desk, "hello", run_config=group("group-1"))
    assert tree(spans.ended) == ["turn", *(f"  {line}" for line in HELLO_RUN)]
    assert turns(spans) == {turn.trace_id}


async def test_runs_in_a_trace_of_the_sdk_are_one_turn(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    with agents.trace("joint", group_id="group-1"):
        await Runner.run(desk, "hello")
        spans.tracer.start_span("between").end()
        await Runner.run(desk, "hello")
    assert tree(spans.ended) == ["invoke_workflow joint", *HELLO_RUN[1:], "  between", *HELLO_RUN[1:]]
    assert_session(spans.ended, "group-1")


@pytest.mark.scenario("hand-off")
async def test_hand_off_is_followed_by_the_other_agent(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    await Runner.run(desk, "I have a bill", run_config=group("group-1"))
    assert tree(spans.ended) == [
        *HELLO_RUN,
        "    handoff to billing",
        "  invoke_agent billing",
        "    chat gpt-4o",
    ]
    assert text(named(spans.ended, RUN[0]), attributes.GEN_AI_OUTPUT_MESSAGES) == "Billing here."


@pytest.mark.scenario("sub-agent")
async def test_agent_that_is_a_tool_is_under_it(
    desk: Agent[Any], adapter: Any, spans: Spans, models: Models
) -> None:
    await Runner.run(desk, "delegate it", run_config=group("group-1"))
    assert tree(spans.ended) == [
        *HELLO_RUN,
        "    execute_tool ask_expert",
        "      invoke_agent expert",
        "        chat gpt-4o",
        "    chat gpt-4o",
    ]
    assert_session(spans.ended, "group-1")
    assert spans.tokens() == models.served()
    entry = named(spans.ended, RUN[0])
    assert text(entry, attributes.GEN_AI_INPUT_MESSAGES) == "delegate it"
    assert text(entry, attributes.GEN_AI_OUTPUT_MESSAGES) == "The expert says hi."


async def test_tool_that_fails_does_not_fail_the_run(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    await Runner.run(desk, "broken", run_config=group("group-1"))
    assert {name for name, status in statuses(spans).items() if status is StatusCode.ERROR} == {
        "execute_tool fail"
    }


@pytest.mark.parametrize("streamed", [False, True], ids=["run", "run_streamed"])
@pytest.mark.scenario("error")
async def test_model_that_refuses_fails_the_run(
    streamed: bool, desk: Agent[Any], adapter: Any, spans: Spans
) -> None:
    async def run() -> None:
        if streamed:
            async for _ in Runner.run_streamed(desk, "limited").stream_events():
                pass
        else:
            await Runner.run(desk, "limited")

    with pytest.raises(openai.RateLimitError):
        await run()
    failed = {name for name, status in statuses(spans).items() if status is StatusCode.ERROR}
    assert failed == {"chat gpt-4o", "invoke_agent desk", RUN[0]}


@pytest.mark.scenario("without messages")
async def test_messages_are_left_out_where_pandaprobe_says_so(
    desk: Agent[Any], adapter: Any, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.active(), "captures_content", False)
    await Runner.run(desk, QUESTION, run_config=group("group-1"))
    assert steps(spans) == RUN
    assert not any("Paris" in str(span.attributes) for span in spans.ended)


@pytest.mark.scenario("left by its consumer")
async def test_stream_that_is_stopped_by_its_reader_leaves_nothing_open(
    desk: Agent[Any], adapter: Any, spans: Spans
) -> None:
    result = Runner.run_streamed(desk, QUESTION, run_config=group("group-1"))
    async for _ in result.stream_events():
        result.cancel()
    for _ in range(200):
        if not spans.started or spans.started != len(spans.ended):
            await asyncio.sleep(0.01)
    assert_session(spans.ended, "group-1")
    assert {line.strip() for line in RUN[:2]} <= {span.name for span in spans.ended}
    before = len(spans.ended)
    await Runner.run(desk, "hello", run_config=group("group-2"))
    assert tree(spans.ended[before:]) == HELLO_RUN
    assert_session(spans.ended[before:], "group-2")


@pytest.mark.scenario("guardrail")
async def test_guardrail_that_stops_the_run_says_so(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(desk, "evil")
    told = named(spans.ended, "guardrail no_evil").attributes or {}
    assert json.loads(str(told[attributes.PANDAPROBE_OUTPUT])) == {"triggered": True}
    error = (named(spans.ended, RUN[0]).attributes or {})["error.type"]
    assert error == "agents.exceptions.InputGuardrailTripwireTriggered"


@pytest.mark.scenario("too many steps")
async def test_run_that_takes_too_many_turns_fails(desk: Agent[Any], adapter: Any, spans: Spans) -> None:
    with pytest.raises(MaxTurnsExceeded):
        await Runner.run(desk, QUESTION, max_turns=1)
    assert statuses(spans)[RUN[0]] is StatusCode.ERROR


@pytest.mark.scenario("human asked")
async def test_run_that_waits_for_a_human_goes_on_in_its_session(
    desk: Agent[Any], adapter: Any, spans: Spans
) -> None:
    waiting = await Runner.run(desk, "approve it", run_config=group("group-1"))
    state = waiting.to_state()
    state.approve(waiting.interruptions[0])
    await Runner.run(desk, state, run_config=group("group-1"))
    assert_session(spans.ended, "group-1")
    assert set(statuses(spans).values()) == {StatusCode.UNSET}
    assert len(turns(spans)) == 2
    names = [span.name for span in sorted(spans.ended, key=lambda span: span.start_time or 0)]
    assert names[:4] == [line.strip() for line in HELLO_RUN]
    assert {"execute_tool book", "chat gpt-4o"} <= set(names[4:])


@pytest.mark.scenario("cancelled")
async def test_run_that_is_cancelled_ends_and_leaves_nothing(
    desk: Agent[Any], adapter: Any, spans: Spans
) -> None:
    started = asyncio.Event()

    @function_tool
    async def get_weather(city: str) -> str:
        """The weather in a city."""
        started.set()
        await asyncio.sleep(60)
        return city

    slow = Agent("slow", model=desk.model, tools=[get_weather])
    run = asyncio.create_task(Runner.run(slow, QUESTION, run_config=group("group-1")))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    before = len(spans.ended)
    assert statuses(spans)[RUN[0]] is StatusCode.ERROR
    await Runner.run(desk, "hello", run_config=group("group-2"))
    assert tree(spans.ended[before:]) == HELLO_RUN
    assert_session(spans.ended[before:], "group-2")


@pytest.mark.scenario("wrapped client beneath")
async def test_wrapped_client_makes_no_second_span(
    models: Models, adapter: Any, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    client = openai.AsyncOpenAI(base_url=models.openai, api_key="none", max_retries=0)
    async with wrap_openai(client):
        with caplog.at_level(logging.WARNING):
            await Runner.run(Agent("desk", model=OpenAIResponsesModel("gpt-4o", client)), "hello")
    assert tree(spans.ended) == [*RUN[:2], "    chat gpt-4o"]
    assert caplog.messages == []


async def test_another_adapter_takes_the_place_of_the_first(desk: Agent[Any], spans: Spans) -> None:
    first, second = OpenAIAgentsAdapter(session_id="first"), OpenAIAgentsAdapter(session_id="second")
    assert first.instrument()
    assert first.instrument()
    second.instrument()
    try:
        await Runner.run(desk, "hello")
    finally:
        first.uninstrument()
        second.uninstrument()
    assert tree(spans.ended) == HELLO_RUN
    assert_session(spans.ended, "second")


async def test_nothing_is_traced_after_the_end(desk: Agent[Any], spans: Spans) -> None:
    before = vars(Runner)["run"]
    with OpenAIAgentsAdapter():
        pass
    await Runner.run(desk, "hello")
    assert spans.ended == []
    assert vars(Runner)["run"] is before


async def test_official_instrumentation_gives_way(desk: Agent[Any], spans: Spans) -> None:
    official = pytest.importorskip("opentelemetry.instrumentation.genai.openai_agents")
    official.OpenAIAgentsInstrumentor().instrument(tracer_provider=spans._captured.tracer_provider)
    with OpenAIAgentsAdapter():
        await Runner.run(desk, "hello", run_config=group("group-1"))
    assert tree(spans.ended) == HELLO_RUN
