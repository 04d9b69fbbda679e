"""What `LangGraphCallbackHandler` promises, with the real LangGraph and models over real HTTP."""

import asyncio
import importlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from pandaprobe_receiver import Courier
from span_tree import named, tree

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import attributes, guard
from pandaprobe_otel.integrations import _langchain
from pandaprobe_otel.integrations.langgraph import LangGraphCallbackHandler
from pandaprobe_otel.testing import assert_session
from pandaprobe_otel.wrappers import wrap_openai

from ..conftest import Models, Spans

FRAMEWORK = "LangGraph"

WEATHER = {"messages": [("user", "What is the weather in Paris?")]}
HELLO = {"messages": [("user", "hello")]}
AGENT_RUN = ["invoke_agent meteorologist", "  chat gpt-4o", "  execute_tool get_weather", "  chat gpt-4o"]


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@tool
def fail() -> str:
    """Always fails."""
    raise LookupError("no such thing")


@tool
def book(city: str) -> str:
    """Books a trip, if a human says so."""
    return f"{city}: {interrupt('May I book it?')}"


@pytest.fixture
def agent(model: ChatOpenAI) -> Any:
    return create_agent(model, [get_weather, fail, book], name="meteorologist", checkpointer=InMemorySaver())


@pytest.fixture
def handler() -> LangGraphCallbackHandler:
    return LangGraphCallbackHandler()


def config(handler: Any, thread_id: str | None = "thread-1", **more: Any) -> Any:
    configurable = {"configurable": {"thread_id": thread_id}} if thread_id else {}
    return {"callbacks": [handler], **configurable, **more}


def graph_of(*nodes: Callable[..., Any]) -> Any:
    """A graph that runs functions one after the other, and remembers its threads."""
    graph = StateGraph(MessagesState)
    graph.add_sequence([(node.__name__, node) for node in nodes])
    graph.add_edge(START, nodes[0].__name__)
    return graph.compile(checkpointer=InMemorySaver())


def texts(span: ReadableSpan, key: str) -> list[tuple[str, str]]:
    messages = json.loads(str((span.attributes or {}).get(key, "[]")))
    return [
        (message["role"], "".join(part.get("content", "") for part in message["parts"]))
        for message in messages
    ]


def statuses(spans: Spans) -> dict[str, StatusCode]:
    return {span.name: span.status.status_code for span in spans.ended}


async def events(agent: Any, run: Any) -> None:
    async for _ in agent.astream_events(WEATHER, run):
        pass


async def read(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda agent, run: agent.invoke(WEATHER, run),
    "ainvoke": lambda agent, run: agent.ainvoke(WEATHER, run),
    "stream": lambda agent, run: list(agent.stream(WEATHER, run)),
    "stream of tokens": lambda agent, run: list(agent.stream(WEATHER, run, stream_mode="messages")),
    "astream": lambda agent, run: read(agent.astream(WEATHER, run)),
    "astream_events": events,
    "batch": lambda agent, run: agent.batch([WEATHER], [run]),
    "abatch": lambda agent, run: agent.abatch([WEATHER], [run]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.scenario("tool", "stream", "batch")
async def test_agent_run_is_one_tree_in_the_session_of_its_thread(
    way: str, agent: Any, handler: Any, spans: Spans
) -> None:
    done = WAYS[way](agent, config(handler))
    if asyncio.iscoroutine(done):
        await done
    assert tree(spans.ended) == AGENT_RUN
    assert_session(spans.ended, "thread-1")
    entry = named(spans.ended, AGENT_RUN[0])
    turns = {(span.attributes or {}).get(attributes.PANDAPROBE_TRACE_ID) for span in spans.ended}
    assert len(turns) == 1
    assert None not in turns
    assert texts(entry, attributes.GEN_AI_INPUT_MESSAGES) == [("user", "What is the weather in Paris?")]
    assert texts(entry, attributes.GEN_AI_OUTPUT_MESSAGES) == [("assistant", "It is sunny in Paris.")]
    said = named(spans.ended, "execute_tool get_weather").attributes or {}
    assert json.loads(str(said[attributes.GEN_AI_TOOL_CALL_ARGUMENTS])) == {"city": "Paris"}
    assert said[attributes.GEN_AI_TOOL_CALL_RESULT] == "sunny in Paris"
    assert set(statuses(spans).values()) == {StatusCode.UNSET}


def test_tokens_are_those_that_were_served(agent: Any, handler: Any, spans: Spans, models: Models) -> None:
    agent.invoke(WEATHER, config(handler))
    assert spans.tokens() == models.served() == (114, 13)


@pytest.mark.scenario("what REST gets")
def test_pandaprobe_gets_the_turn_with_its_steps(agent: Any, handler: Any, spans: Spans) -> None:
    agent.invoke(WEATHER, config(handler, metadata={"plan": "free"}))
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    turn = courier.receiver.named("invoke_agent meteorologist")
    assert (turn["session_id"], turn["status"]) == ("thread-1", "COMPLETED")
    assert turn["input"] == {"messages": [{"role": "user", "content": "What is the weather in Paris?"}]}
    assert turn["output"]["messages"][0]["content"] == "It is sunny in Paris."
    steps = sorted(turn["spans"].values(), key=lambda step: step["started_at"])
    assert [(step["kind"], step["parent_span_id"]) for step in steps] == [
        ("LLM", None),
        ("TOOL", None),
        ("LLM", None),
    ]
    assert sum(step["token_usage"]["prompt_tokens"] for step in steps if step["token_usage"]) == 114


@pytest.mark.scenario("two turns with memory")
def test_turns_of_a_thread_are_traces_of_one_session(agent: Any, handler: Any, spans: Spans) -> None:
    agent.invoke(WEATHER, config(handler))
    agent.invoke(HELLO, config(handler))
    assert tree(spans.ended) == [*AGENT_RUN, AGENT_RUN[0], "  chat gpt-4o"]
    assert_session(spans.ended, "thread-1")
    turns = [(span.attributes or {})[attributes.PANDAPROBE_TRACE_ID] for span in spans.ended]
    assert len(set(turns[:4])) == len(set(turns[4:])) == 1
    assert turns[0] != turns[-1]
    # The second turn remembers the first.
    last = max(spans.ended, key=lambda span: (span.name.startswith("chat"), span.start_time))
    assert len(texts(last, attributes.GEN_AI_INPUT_MESSAGES)) == 5


@pytest.mark.scenario("conversations at once")
async def test_conversations_at_the_same_time_stay_apart(agent: Any, handler: Any, spans: Spans) -> None:
    threads = [f"thread-{number}" for number in range(8)]
    await asyncio.gather(*(agent.ainvoke(WEATHER, config(handler, thread)) for thread in threads))
    for thread in threads:
        mine = [span for span in spans.ended if (span.attributes or {})["session.id"] == thread]
        assert tree(mine) == AGENT_RUN
    assert len(spans.ended) == 8 * 4


def test_conversations_in_threads_stay_apart(agent: Any, handler: Any, spans: Spans) -> None:
    threads = [f"thread-{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda thread: agent.invoke(WEATHER, config(handler, thread)), threads))
    for thread in threads:
        mine = [span for span in spans.ended if (span.attributes or {})["session.id"] == thread]
        assert tree(mine) == AGENT_RUN


@pytest.mark.scenario("every source of the session")
def test_parameter_is_stronger_than_a_block_and_a_block_than_the_thread(agent: Any, spans: Spans) -> None:
    def sessions() -> set[tuple[Any, Any]]:
        found = {
            ((span.attributes or {})["session.id"], (span.attributes or {}).get("gen_ai.conversation.id"))
            for span in spans.ended
            if span.name.startswith("chat")
        }
        spans._captured.spans.clear()
        spans.started = 0
        return found

    with pandaprobe.session("block"):
        agent.invoke(HELLO, config(LangGraphCallbackHandler(session_id="parameter"), "thread-1"))
        assert sessions() == {("parameter", "thread-1")}
        agent.invoke(HELLO, config(LangGraphCallbackHandler(), "thread-1"))
        assert sessions() == {("block", "thread-1")}
    agent.invoke(HELLO, config(LangGraphCallbackHandler(), "thread-1"))
    assert sessions() == {("thread-1", "thread-1")}


def test_handler_of_the_documentation_works_as_written(model: ChatOpenAI, spans: Spans) -> None:
    from pandaprobe_otel.integrations.langgraph import LangGraphCallbackHandler

    handler = LangGraphCallbackHandler(session_id="conversation-123")
    create_agent(model, [get_weather]).invoke(WEATHER, {"callbacks": [handler]})
    assert_session(spans.ended, "conversation-123")
    assert len(spans.ended) == 4


def test_user_tags_and_metadata_are_on_the_run(agent: Any, spans: Spans) -> None:
    handler = LangGraphCallbackHandler(user_id="ada", tags=["beta"], metadata={"plan": "free"})
    agent.invoke(HELLO, config(handler))
    assert {(span.attributes or {})["user.id"] for span in spans.ended} == {"ada"}
    entry = named(spans.ended, AGENT_RUN[0]).attributes or {}
    assert entry[attributes.PANDAPROBE_TAGS] == ("beta",)
    assert json.loads(str(entry[attributes.PANDAPROBE_METADATA])) == {"plan": "free"}


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="tags is a list of str"):
        LangGraphCallbackHandler(tags="beta")


@pytest.mark.scenario("inside a trace")
def test_run_inside_a_trace_is_a_part_of_it(agent: Any, handler: Any, spans: Spans) -> None:
    with pandaprobe.session("block"), pandaprobe.start_trace("turn") as turn:
        agent.invoke(HELLO, config(handler))
    assert tree(spans.ended) == ["turn", f"  {AGENT_RUN[0]}", "    chat gpt-4o"]
    assert {(span.attributes or {})[attributes.PANDAPROBE_TRACE_ID] for span in spans.ended} == {
        turn.trace_id
    }


def test_runs_under_a_request_span_are_turns_of_their_own(agent: Any, handler: Any, spans: Spans) -> None:
    with spans.tracer.start_as_current_span("POST /chat"):
        agent.invoke(HELLO, config(handler))
        agent.invoke(HELLO, config(handler))
    turns = [(span.attributes or {}).get(attributes.PANDAPROBE_TRACE_ID) for span in spans.ended]
    assert len(set(turns[:-1])) == 2
    assert turns[-1] is None
    assert tree(spans.ended) == ["POST /chat", *(f"  {AGENT_RUN[0]}", "    chat gpt-4o") * 2]


def test_code_of_a_node_is_under_its_node(model: ChatOpenAI, handler: Any, spans: Spans) -> None:
    def look_up(state: MessagesState) -> Any:
        with spans.tracer.start_as_current_span("query"), ThreadPoolExecutor(2) as pool:
            list(pool.map(traced, ("left", "right")))
        return {"messages": [("assistant", "found")]}

    def traced(name: str) -> None:
        spans.tracer.start_span(name).end()

    async def answer(state: MessagesState) -> Any:
        spans.tracer.start_span("prepare").end()
        return {"messages": [await model.ainvoke(HELLO["messages"])]}

    asyncio.run(graph_of(look_up, answer).ainvoke(HELLO, config(handler)))
    found = tree(spans.ended)
    assert found[:3] == ["invoke_workflow LangGraph", "  look_up", "    query"]
    assert sorted(found[3:5]) == ["      left", "      right"]
    assert found[5:] == ["  answer", "    prepare", "    chat gpt-4o"]
    assert_session(spans.ended, "thread-1")
    node = named(spans.ended, "look_up").attributes or {}
    assert node[attributes.PANDAPROBE_SPAN_KIND] == "CHAIN"
    assert texts(named(spans.ended, "look_up"), attributes.GEN_AI_OUTPUT_MESSAGES) == [("assistant", "found")]


def test_a_client_that_a_node_calls_is_under_it(handler: Any, spans: Spans, models: Models) -> None:
    client = URLLibInstrumentor()

    def ask(state: MessagesState) -> Any:
        with suppress(HTTPError):
            urlopen(f"{models.openai}/models").close()
        return {"messages": [("assistant", "found")]}

    client.instrument(tracer_provider=spans._captured.tracer_provider)
    try:
        graph_of(ask).invoke(HELLO, config(handler))
    finally:
        client.uninstrument()
    assert tree(spans.ended) == ["invoke_workflow LangGraph", "  ask", "    GET"]
    assert_session(spans.ended, "thread-1")


@pytest.mark.scenario("parallel branches")
def test_branches_at_the_same_time_keep_their_own_code(handler: Any, spans: Spans) -> None:
    barrier = threading.Barrier(2, timeout=10)

    def branch(name: str) -> Callable[[MessagesState], Any]:
        def run(state: MessagesState) -> Any:
            barrier.wait()
            spans.tracer.start_span(f"work of {name}").end()
            barrier.wait()
            return {"messages": [("assistant", name)]}

        return run

    graph = StateGraph(MessagesState)
    for name in ("left", "right"):
        graph.add_node(name, branch(name))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    graph.compile().invoke(HELLO, config(handler))
    for name in ("left", "right"):
        work, node = named(spans.ended, f"work of {name}"), named(spans.ended, name)
        assert work.parent is not None
        assert work.parent.span_id == node.context.span_id
    assert_session(spans.ended, "thread-1")


@pytest.mark.scenario("human asked")
def test_graph_that_stops_for_a_human_asks_and_goes_on_in_one_session(handler: Any, spans: Spans) -> None:
    def ask(state: MessagesState) -> Any:
        return {"messages": [("assistant", f"You said {interrupt('Shall I go on?')}.")]}

    graph = graph_of(ask)
    graph.invoke(HELLO, config(handler))
    graph.invoke(Command(resume="yes"), config(handler))
    assert tree(spans.ended) == ["invoke_workflow LangGraph", "  ask"] * 2
    assert_session(spans.ended, "thread-1")
    assert set(statuses(spans).values()) == {StatusCode.UNSET}
    asked, resumed = [span for span in spans.ended if span.name == "invoke_workflow LangGraph"]
    assert texts(asked, attributes.GEN_AI_INPUT_MESSAGES) == [("user", "hello")]
    assert texts(asked, attributes.GEN_AI_OUTPUT_MESSAGES) == [("assistant", "Shall I go on?")]
    assert texts(resumed, attributes.GEN_AI_INPUT_MESSAGES) == [("user", "yes")]
    assert texts(resumed, attributes.GEN_AI_OUTPUT_MESSAGES) == [("assistant", "You said yes.")]
    assert [[event.name for event in span.events] for span in (asked, resumed)] == [
        ["langgraph.interrupt"],
        ["langgraph.resume"],
    ]


def test_tool_that_stops_for_a_human_has_not_failed(agent: Any, handler: Any, spans: Spans) -> None:
    agent.invoke({"messages": [("user", "approve it")]}, config(handler))
    agent.invoke(Command(resume="fine"), config(handler))
    assert tree(spans.ended) == [
        *(AGENT_RUN[0], "  chat gpt-4o", "  execute_tool book"),
        *(AGENT_RUN[0], "  execute_tool book", "  chat gpt-4o"),
    ]
    assert set(statuses(spans).values()) == {StatusCode.UNSET}


def test_node_that_raises_fails_with_its_run(handler: Any, spans: Spans) -> None:
    def broken(state: MessagesState) -> Any:
        raise LookupError("no such thing")

    with pytest.raises(LookupError):
        graph_of(broken).invoke(HELLO, config(handler))
    assert statuses(spans) == {"broken": StatusCode.ERROR, "invoke_workflow LangGraph": StatusCode.ERROR}
    assert {(span.attributes or {})["error.type"] for span in spans.ended} == {"LookupError"}


@pytest.mark.scenario("retry")
def test_every_attempt_of_a_node_is_a_step_with_its_own_work(handler: Any, spans: Spans) -> None:
    attempts: list[int] = []

    def flaky(state: MessagesState) -> Any:
        attempts.append(1)
        spans.tracer.start_span("work").end()
        if len(attempts) == 1:
            raise ConnectionError("try again")
        return {"messages": [("assistant", "done")]}

    graph = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0.01, jitter=False)
    graph.add_node("flaky", flaky, retry_policy=policy)
    graph.add_edge(START, "flaky")
    graph.compile().invoke(HELLO, config(handler))
    assert tree(spans.ended) == ["invoke_workflow LangGraph", "  flaky", "    work", "  flaky", "    work"]
    assert_session(spans.ended, "thread-1")
    assert [s.status.status_code for s in spans.ended if s.name == "flaky"] == [
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert spans.ended[-1].status.status_code is StatusCode.UNSET


@pytest.mark.scenario("without messages")
def test_messages_are_left_out_where_pandaprobe_says_so(
    agent: Any, handler: Any, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans._captured, "captures_content", False)
    agent.invoke(WEATHER, config(handler))
    assert tree(spans.ended) == AGENT_RUN
    assert not any("Paris" in str(span.attributes) for span in spans.ended)


@pytest.mark.scenario("error")
def test_tool_that_raises_fails_with_its_run(agent: Any, handler: Any, spans: Spans) -> None:
    with pytest.raises(LookupError):
        agent.invoke({"messages": [("user", "broken")]}, config(handler))
    assert statuses(spans) == {
        "chat gpt-4o": StatusCode.UNSET,
        "execute_tool fail": StatusCode.ERROR,
        AGENT_RUN[0]: StatusCode.ERROR,
    }


def test_model_that_refuses_fails_with_its_run(agent: Any, handler: Any, spans: Spans) -> None:
    with pytest.raises(openai.RateLimitError):
        agent.invoke({"messages": [("user", "limited")]}, config(handler))
    assert statuses(spans) == {"chat gpt-4o": StatusCode.ERROR, AGENT_RUN[0]: StatusCode.ERROR}


@pytest.mark.scenario("too many steps")
def test_run_that_takes_too_many_steps_fails(agent: Any, handler: Any, spans: Spans) -> None:
    with pytest.raises(GraphRecursionError):
        agent.invoke(WEATHER, config(handler, recursion_limit=1))
    entry = named(spans.ended, AGENT_RUN[0])
    assert (entry.attributes or {})["error.type"] == "langgraph.errors.GraphRecursionError"


@pytest.mark.scenario("cancelled")
async def test_run_that_is_cancelled_ends_and_leaves_nothing(agent: Any, handler: Any, spans: Spans) -> None:
    started = asyncio.Event()

    async def wait(state: MessagesState) -> Any:
        started.set()
        await asyncio.sleep(60)

    graph = graph_of(wait)
    run = asyncio.create_task(graph.ainvoke(HELLO, config(handler)))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert statuses(spans) == {"wait": StatusCode.ERROR, "invoke_workflow LangGraph": StatusCode.ERROR}
    await agent.ainvoke(HELLO, config(handler, "thread-2"))
    assert_session(spans.ended[2:], "thread-2")
    assert tree(spans.ended[2:]) == [AGENT_RUN[0], "  chat gpt-4o"]


@pytest.mark.scenario("left by its consumer")
def test_stream_that_is_left_ends_without_an_error(agent: Any, handler: Any, spans: Spans) -> None:
    stream = agent.stream(WEATHER, config(handler))
    next(stream)
    spans.tracer.start_span("consumer").end()
    stream.close()
    assert tree(spans.ended) == [AGENT_RUN[0], "  chat gpt-4o", "consumer"]
    assert statuses(spans)[AGENT_RUN[0]] is StatusCode.UNSET
    assert "session.id" not in (named(spans.ended, "consumer").attributes or {})


async def test_async_stream_that_is_left_ends_without_an_error(
    agent: Any, handler: Any, spans: Spans
) -> None:
    stream = agent.astream(WEATHER, config(handler))
    await anext(stream)
    spans.tracer.start_span("consumer").end()
    await stream.aclose()
    assert tree(spans.ended) == [AGENT_RUN[0], "  chat gpt-4o", "consumer"]
    assert statuses(spans)[AGENT_RUN[0]] is StatusCode.UNSET
    assert "session.id" not in (named(spans.ended, "consumer").attributes or {})


@pytest.mark.scenario("sub-agent")
def test_agent_that_a_tool_asks_is_under_the_tool(model: ChatOpenAI, handler: Any, spans: Spans) -> None:
    expert = create_agent(model, [], name="expert")

    @tool
    def ask_expert(question: str) -> str:
        """Asks the expert."""
        answer: str = expert.invoke({"messages": [("user", question)]})["messages"][-1].content
        return answer

    desk = create_agent(model, [ask_expert], name="desk")
    desk.invoke({"messages": [("user", "delegate it")]}, config(handler))
    assert tree(spans.ended) == [
        "invoke_agent desk",
        "  chat gpt-4o",
        "  execute_tool ask_expert",
        "    invoke_agent expert",
        "      chat gpt-4o",
        "  chat gpt-4o",
    ]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == (42 + 61 + 12, 8 + 5 + 3)


def test_session_of_a_run_is_that_of_the_code_inside(handler: Any, spans: Spans) -> None:
    seen: list[str | None] = []

    def look(state: MessagesState) -> Any:
        thread = threading.Thread(target=lambda: seen.append(pandaprobe.current_session()))
        thread.start()
        thread.join()
        seen.append(pandaprobe.current_session())

    graph_of(look).invoke(HELLO, config(handler))
    assert seen == ["thread-1", "thread-1"]


def test_two_handlers_make_each_span_once(agent: Any, handler: Any, spans: Spans) -> None:
    agent.invoke(
        WEATHER, {**config(handler), "callbacks": [handler, LangGraphCallbackHandler(user_id="ada")]}
    )
    assert tree(spans.ended) == AGENT_RUN


@pytest.mark.scenario("wrapped client beneath")
def test_wrapped_client_beneath_makes_no_second_span(models: Models, handler: Any, spans: Spans) -> None:
    client = wrap_openai(openai.OpenAI(base_url=models.openai, api_key="none", max_retries=0))
    model = ChatOpenAI(model="gpt-4o", client=client.chat.completions, root_client=client, api_key="none")
    create_agent(model, [get_weather], name="meteorologist").invoke(WEATHER, config(handler))
    assert tree(spans.ended) == AGENT_RUN
    assert spans.tokens() == (114, 13)


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_official_instrumentation_beside_makes_no_second_span(
    first: bool, model: ChatOpenAI, spans: Spans
) -> None:
    provider = spans._captured.tracer_provider
    official = [LangChainInstrumentor(), OpenAIInstrumentor()]
    handler = None if first else LangGraphCallbackHandler()
    for instrumentor in official:
        instrumentor.instrument(tracer_provider=provider)
    try:
        handler = handler or LangGraphCallbackHandler()

        @tool
        def get_weather(city: str) -> str:
            """The weather in a city."""
            spans.tracer.start_span("in the tool").end()
            return f"sunny in {city}"

        agent = create_agent(model, [get_weather], name="meteorologist")
        agent.invoke(WEATHER, config(handler))
    finally:
        for instrumentor in official:
            instrumentor.uninstrument()
    assert tree(spans.ended) == [*AGENT_RUN[:3], "    in the tool", AGENT_RUN[3]]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == (114, 13)


def test_handler_makes_nothing_while_pandaprobe_is_off(
    agent: Any, handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANDAPROBE_ENABLED", "false")
    agent.invoke(WEATHER, config(handler))
    assert _langchain._open_runs()._invocations == {}


def test_fault_in_the_handler_is_not_the_users(
    agent: Any, handler: Any, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "loud", False)
    monkeypatch.setattr(handler, "_recorder", None)
    answer = agent.invoke(WEATHER, config(handler))["messages"][-1].content
    assert answer == "It is sunny in Paris."


@pytest.mark.parametrize("module", _langchain.UNDOCUMENTED)
def test_names_that_are_not_documented_are_still_there(module: str) -> None:
    for path in _langchain.UNDOCUMENTED[module]:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
