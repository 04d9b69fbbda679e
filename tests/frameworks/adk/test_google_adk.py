"""What `GoogleADKAdapter` promises, with the real ADK and Gemini's API over real HTTP."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
from google.adk.agents import Agent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.agents.invocation_context import LlmCallsLimitExceededError
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.runners import InMemoryRunner
from google.adk.telemetry.context import ContentCapturingMode, TelemetryConfig
from google.adk.tools.agent_tool import AgentTool
from google.genai import types
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from pandaprobe_receiver import Courier
from span_tree import named, tree

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.google_adk import GoogleADKAdapter
from pandaprobe_otel.testing import assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument

from ..conftest import Models, Spans

FRAMEWORK = "Google ADK"

MODEL = "gemini-2.5-flash"
RUN = ["invoke_workflow meteorologist", "  invoke_agent meteorologist"]
CALL = f"    generate_content {MODEL}"
TOOL = "    execute_tool get_weather"


@pytest.fixture(autouse=True)
def _gemini_is_the_mock(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "none")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", models.openai.removesuffix("/v1"))


@pytest.fixture
def adapter() -> Iterator[GoogleADKAdapter]:
    with GoogleADKAdapter() as adapter:
        yield adapter


class Conversation:
    """An agent, and what it is asked in one of ADK's sessions."""

    def __init__(self, spans: Spans, **agent: Any) -> None:
        def get_weather(city: str) -> str:
            """The weather in a city."""
            with spans.tracer.start_as_current_span("lookup"):
                return f"sunny in {city}"

        def fail() -> str:
            """Always fails."""
            raise LookupError("no such thing")

        expert = Agent(name="expert", model=MODEL, description="Knows all.")
        tools = [get_weather, fail, AgentTool(expert)]
        self.runner = InMemoryRunner(
            Agent(name="meteorologist", model=MODEL, tools=tools, **agent), app_name="app"
        )

    async def open(self, session_id: str) -> None:
        await self.runner.session_service.create_session(
            app_name="app", user_id="user-42", session_id=session_id
        )

    def events(self, question: str, session_id: str, **more: Any) -> Any:
        message = types.Content(role="user", parts=[types.Part(text=question)])
        return self.runner.run_async(user_id="user-42", session_id=session_id, new_message=message, **more)

    async def ask(self, question: str, session_id: str = "thread-1", **more: Any) -> None:
        await self.open(session_id)
        async for _ in self.events(question, session_id, **more):
            pass


@pytest.fixture
def conversation(spans: Spans, adapter: GoogleADKAdapter) -> Conversation:
    return Conversation(spans)


def texts(span: ReadableSpan, key: str) -> str:
    messages = json.loads(str((span.attributes or {}).get(key, "[]")))
    return " | ".join(part.get("content", part["type"]) for each in messages for part in each["parts"])


def values(spans: Spans, key: str) -> set[Any]:
    return {(span.attributes or {}).get(key) for span in spans.ended}


@pytest.mark.scenario("tool")
async def test_run_is_one_tree_in_adks_session_and_of_its_user(
    conversation: Conversation, spans: Spans, models: Models
) -> None:
    await conversation.ask("What is the weather?")
    assert tree(spans.ended) == [*RUN, CALL, TOOL, "      lookup", CALL]
    assert_session(spans.ended, "thread-1")
    assert values(spans, "user.id") == {"user-42"}
    assert spans.tokens() == models.served() == (114, 13)
    assert {span.status.status_code for span in spans.ended} == {StatusCode.UNSET}


@pytest.mark.parametrize("mode", [StreamingMode.NONE, StreamingMode.SSE])
@pytest.mark.scenario("wrapped client beneath")
async def test_gemini_traced_for_the_whole_process_makes_no_second_span_of_a_call(
    mode: StreamingMode, conversation: Conversation, spans: Spans
) -> None:
    instrument("gemini")
    try:
        await conversation.ask("What is the weather?", run_config=RunConfig(streaming_mode=mode))
    finally:
        uninstrument("gemini")
    assert tree(spans.ended) == [*RUN, CALL, TOOL, "      lookup", CALL]


@pytest.mark.scenario("stream")
async def test_streamed_run_is_the_same_tree(
    conversation: Conversation, spans: Spans, models: Models
) -> None:
    await conversation.ask("What is the weather?", run_config=RunConfig(streaming_mode=StreamingMode.SSE))
    assert tree(spans.ended) == [*RUN, CALL, TOOL, "      lookup", CALL]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == models.served() == (114, 13)
    last = [span for span in spans.ended if span.name.startswith("generate_content")][-1]
    # In the pieces that it came in.
    assert texts(last, "gen_ai.output.messages").replace(" | ", "") == "It is sunny in Paris."


@pytest.mark.scenario("two turns with memory")
async def test_turns_with_memory_are_traces_of_one_session(
    conversation: Conversation, spans: Spans, models: Models
) -> None:
    await conversation.open("thread-1")
    for question in ("What is the weather?", "hello"):
        async for _ in conversation.events(question, "thread-1"):
            pass
    assert tree(spans.ended) == [*RUN, CALL, TOOL, "      lookup", CALL, *RUN, CALL]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == models.served() == (126, 16)
    last = [span for span in spans.ended if span.name.startswith("generate_content")][-1]
    asked = texts(last, "gen_ai.input.messages")
    assert "What is the weather?" in asked
    assert "It is sunny in Paris." in asked
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    turns = sorted(courier.receiver.traces.values(), key=lambda turn: turn["started_at"])
    assert [turn["input"]["messages"][-1]["content"] for turn in turns] == ["What is the weather?", "hello"]
    answers = [turn["output"]["messages"][-1]["content"] for turn in turns]
    assert answers == ["It is sunny in Paris.", "Hi there."]


@pytest.mark.scenario("hand-off")
async def test_agent_that_another_hands_over_to_is_in_the_same_run(
    adapter: Any, spans: Spans, models: Models
) -> None:
    billing = Agent(name="billing", model=MODEL, description="Knows bills.")
    conversation = Conversation(spans, sub_agents=[billing])
    await conversation.ask("I have a bill.")
    handed = [CALL, "    execute_tool transfer_to_agent"]
    assert tree(spans.ended) == [*RUN, *handed, "  invoke_agent billing", CALL]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == models.served() == (115, 13)


async def test_messages_are_on_the_spans(conversation: Conversation, spans: Spans) -> None:
    await conversation.ask("What is the weather?")
    first, last = [span for span in spans.ended if span.name.startswith("generate_content")]
    assert texts(first, "gen_ai.input.messages") == "What is the weather?"
    assert texts(last, "gen_ai.output.messages") == "It is sunny in Paris."
    tool = named(spans.ended, TOOL.strip()).attributes or {}
    assert json.loads(str(tool["gen_ai.tool.call.arguments"])) == {"city": "Paris"}
    assert "sunny in Paris" in str(tool["gen_ai.tool.call.result"])


@pytest.mark.parametrize("how", ["PandaProbe", "OpenTelemetry", "ADK"])
@pytest.mark.scenario("without messages")
async def test_messages_are_left_out_where_anybody_says_so(
    how: str, conversation: Conversation, spans: Spans, everything: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = None
    if how == "PandaProbe":
        monkeypatch.setattr(everything, "captures_content", False)
    elif how == "OpenTelemetry":
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    else:
        telemetry = TelemetryConfig(capture_message_content=ContentCapturingMode.NO_CONTENT)
        config = RunConfig(telemetry=telemetry)
    await conversation.ask("What is the weather?", run_config=config)
    assert len(spans.ended) == 6
    keys = {key for span in spans.ended for key in span.attributes or {}}
    assert not {key for key in keys if "messages" in key or "tool.call.arguments" in key}


@pytest.mark.scenario("every source of the session")
async def test_session_block_is_stronger_than_adks_session_and_a_parameter_than_both(
    conversation: Conversation, spans: Spans
) -> None:
    with pandaprobe.session("block"):
        await conversation.ask("hello", "thread-1")
    assert_session(spans.ended, "block")
    assert values(spans, "gen_ai.conversation.id") == {"thread-1"}
    GoogleADKAdapter(session_id="explicit", user_id="somebody").instrument()
    with pandaprobe.session("block"):
        await conversation.ask("hello", "thread-2")
    assert_session(spans.ended[3:], "explicit")
    assert {(span.attributes or {}).get("user.id") for span in spans.ended[3:]} == {"somebody"}


@pytest.mark.scenario("conversations at once")
async def test_conversations_at_the_same_time_stay_apart(conversation: Conversation, spans: Spans) -> None:
    threads = [f"thread-{number}" for number in range(5)]
    await asyncio.gather(*(conversation.ask("What is the weather?", thread) for thread in threads))
    for thread in threads:
        own = [span for span in spans.ended if (span.attributes or {})["session.id"] == thread]
        assert tree(own) == [*RUN, CALL, TOOL, "      lookup", CALL]
        assert {(span.attributes or {}).get("gen_ai.conversation.id", thread) for span in own} == {thread}


@pytest.mark.scenario("sub-agent")
async def test_agent_that_is_a_tool_of_another_stays_in_its_session(
    conversation: Conversation, spans: Spans
) -> None:
    await conversation.ask("Please delegate this.")
    assert "      invoke_agent expert" in [line[-25:] for line in tree(spans.ended)]
    assert_session(spans.ended, "thread-1")


def test_run_without_a_loop_belongs_to_its_session(conversation: Conversation, spans: Spans) -> None:
    asyncio.run(conversation.open("thread-1"))
    message = types.Content(role="user", parts=[types.Part(text="hello")])
    list(conversation.runner.run(user_id="user-42", session_id="thread-1", new_message=message))
    assert tree(spans.ended) == [*RUN, CALL]
    assert_session(spans.ended, "thread-1")


@pytest.mark.scenario("left by its consumer")
async def test_run_that_is_broken_off_leaves_nothing_behind(conversation: Conversation, spans: Spans) -> None:
    await conversation.open("thread-1")
    async with aclosing(conversation.events("What is the weather?", "thread-1")) as events:
        async for _ in events:
            assert pandaprobe.current_session() is None
            break
    assert_session(spans.ended, "thread-1")


@pytest.mark.scenario("error")
async def test_failures_of_tools_and_models_are_errors(conversation: Conversation, spans: Spans) -> None:
    with pytest.raises(LookupError):
        await conversation.ask("This is broken.", "thread-1")
    assert named(spans.ended, "execute_tool fail").status.status_code is StatusCode.ERROR
    with pytest.raises(Exception, match="429"):
        await conversation.ask("You are limited.", "thread-2")
    assert spans.ended[-1].status.status_code is StatusCode.ERROR
    assert_session(spans.ended[-3:], "thread-2")


async def test_tags_and_metadata_are_on_the_run(conversation: Conversation, spans: Spans) -> None:
    GoogleADKAdapter(tags=["beta"], metadata={"plan": "free"}).instrument()
    await conversation.ask("hello")
    run = named(spans.ended, RUN[0]).attributes or {}
    assert (run["pandaprobe.tags"], run["pandaprobe.metadata"]) == (("beta",), '{"plan": "free"}')


@pytest.mark.scenario("too many steps")
async def test_run_that_asks_the_model_too_often_fails(conversation: Conversation, spans: Spans) -> None:
    with pytest.raises(LlmCallsLimitExceededError):
        await conversation.ask("What is the weather?", run_config=RunConfig(max_llm_calls=1))
    run = named(spans.ended, RUN[0])
    assert run.status.status_code is StatusCode.ERROR
    assert_session(spans.ended, "thread-1")


@pytest.mark.scenario("inside a trace")
async def test_runs_inside_a_trace_are_part_of_its_turn(conversation: Conversation, spans: Spans) -> None:
    with pandaprobe.start_trace("request", session_id="mine"):
        await conversation.ask("hello")
    assert tree(spans.ended) == ["request", *(f"  {line}" for line in [*RUN, CALL])]
    assert len(values(spans, "pandaprobe.trace.id")) == 1
    assert_session(spans.ended, "mine")


@pytest.mark.scenario("what REST gets")
async def test_pandaprobe_gets_each_turn_with_question_and_answer(
    conversation: Conversation, spans: Spans
) -> None:
    await conversation.ask("What is the weather?")
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    turn = courier.receiver.named(RUN[0])
    assert (turn["session_id"], turn["user_id"], turn["status"]) == ("thread-1", "user-42", "COMPLETED")
    assert turn["input"]["messages"][-1] == {"role": "user", "content": "What is the weather?"}
    assert turn["output"]["messages"][-1]["content"] == "It is sunny in Paris."
    steps = sorted(turn["spans"].values(), key=lambda step: step["started_at"])
    assert [step["kind"] for step in steps] == ["CHAIN", "AGENT", "LLM", "TOOL", "OTHER", "LLM"]
    assert sum(step["token_usage"]["prompt_tokens"] for step in steps if step["token_usage"]) == 114


async def test_uninstrument_leaves_adk_as_it_was(spans: Spans) -> None:
    before = InMemoryRunner.run_async
    with GoogleADKAdapter():
        assert InMemoryRunner.run_async is not before
    assert InMemoryRunner.run_async is before
    await Conversation(spans).ask("hello")
    assert_session(spans.ended, None)


@pytest.mark.scenario("cancelled")
async def test_run_that_is_cancelled_ends_and_leaks_nothing_into_the_next(
    conversation: Conversation, spans: Spans
) -> None:
    run = asyncio.create_task(conversation.ask("What is the weather?", "thread-1"))
    for _ in range(100):
        if not spans.started:
            await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert spans.started == len(spans.ended)
    assert_session(spans.ended, "thread-1")
    before = len(spans.ended)
    await conversation.ask("hello", "thread-2")
    assert tree(spans.ended[before:]) == [*RUN, CALL]
    assert_session(spans.ended[before:], "thread-2")


@pytest.mark.parametrize("kind", [ParallelAgent, LoopAgent, SequentialAgent])
@pytest.mark.scenario("parallel branches")
async def test_agents_of_an_agent_are_below_it(adapter: Any, spans: Spans, kind: Any) -> None:
    one, two = (Agent(name=name, model=MODEL) for name in ("one", "two"))
    more = {"max_iterations": 1} if kind is LoopAgent else {}
    conversation = Conversation(spans)
    conversation.runner = InMemoryRunner(kind(name="team", sub_agents=[one, two], **more), app_name="app")
    await conversation.ask("hello")
    lines = tree(spans.ended)
    assert lines[:2] == ["invoke_workflow team", "  invoke_agent team"]
    steps = {line.strip() for line in lines[2:]}
    assert steps == {"invoke_agent one", "invoke_agent two", CALL.strip()}
    for name in ("one", "two"):
        assert lines[lines.index(f"    invoke_agent {name}") + 1] == f"      {CALL.strip()}"
    assert_session(spans.ended, "thread-1")
