"""What `DeepAgentsCallbackHandler` promises, with real deep agents and models over real HTTP."""

import asyncio
from typing import Any

import openai
import pytest
from deepagents import create_deep_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from opentelemetry.trace import StatusCode
from pandaprobe_receiver import Courier
from span_tree import named, tree

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import attributes
from pandaprobe_otel.integrations.deepagents import DeepAgentsCallbackHandler
from pandaprobe_otel.testing import assert_session
from pandaprobe_otel.wrappers import wrap_openai

from ..conftest import Models, Spans

FRAMEWORK = "Deep Agents"

RUN = [
    "invoke_agent deep",
    "  chat gpt-4o",
    "  execute_tool task",
    "    invoke_agent expert",
    "      chat gpt-4o",
    "  chat gpt-4o",
]


TASK: Any = {"messages": [("user", "give the task to the expert")]}


def deep(model: ChatOpenAI) -> Any:
    expert: Any = {
        "name": "expert",
        "description": "Knows it all.",
        "system_prompt": "Be brief.",
        "tools": [],
    }
    return create_deep_agent(model, [], subagents=[expert], name="deep", checkpointer=InMemorySaver())


@pytest.fixture
def agent(model: ChatOpenAI) -> Any:
    return deep(model)


def config(handler: Any, thread: str = "thread-1") -> Any:
    return {"callbacks": [handler], "configurable": {"thread_id": thread}}


@pytest.mark.scenario("tool", "two turns with memory", "sub-agent")
def test_deep_agent_is_an_agent_with_its_sub_agent_under_the_tool(
    agent: Any, spans: Spans, models: Models
) -> None:
    run = config(DeepAgentsCallbackHandler())
    agent.invoke(TASK, run)
    agent.invoke({"messages": [("user", "hello")]}, run)
    assert tree(spans.ended) == [*RUN, RUN[0], RUN[1]]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == models.served() == (43 + 12 + 62 + 12, 9 + 3 + 5 + 3)
    turns = {(span.attributes or {}).get(attributes.PANDAPROBE_TRACE_ID) for span in spans.ended}
    assert len(turns) == 2


@pytest.mark.scenario("stream", "conversations at once")
async def test_deep_agents_at_the_same_time_stay_apart(agent: Any, spans: Spans) -> None:
    handler = DeepAgentsCallbackHandler()
    threads = ["thread-1", "thread-2", "thread-3"]

    async def run(thread: str) -> None:
        async for _ in agent.astream(TASK, config(handler, thread)):
            pass

    await asyncio.gather(*map(run, threads))
    for thread in threads:
        mine = [span for span in spans.ended if (span.attributes or {})["session.id"] == thread]
        assert tree(mine) == RUN
        assert (named(mine, RUN[0]).attributes or {})["gen_ai.agent.name"] == "deep"


@pytest.mark.scenario("what REST gets")
def test_pandaprobe_gets_the_turn_with_its_steps(agent: Any, spans: Spans, models: Models) -> None:
    agent.invoke(TASK, config(DeepAgentsCallbackHandler()))
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    turn = courier.receiver.named("invoke_agent deep")
    assert (turn["session_id"], turn["status"]) == ("thread-1", "COMPLETED")
    assert turn["input"] == {"messages": [{"role": "user", "content": "give the task to the expert"}]}
    assert turn["output"]["messages"][0]["content"] == "The expert says hi."
    steps = sorted(turn["spans"].values(), key=lambda step: step["started_at"])
    assert [step["kind"] for step in steps] == ["LLM", "TOOL", "AGENT", "LLM", "LLM"]
    read = sum(step["token_usage"]["prompt_tokens"] for step in steps if step["token_usage"])
    assert read == models.served()[0]


@pytest.mark.scenario("error")
def test_model_that_refuses_fails_with_its_run(agent: Any, spans: Spans) -> None:
    with pytest.raises(openai.RateLimitError):
        agent.invoke({"messages": [("user", "limited")]}, config(DeepAgentsCallbackHandler()))
    assert tree(spans.ended) == RUN[:2]
    assert {span.status.status_code for span in spans.ended} == {StatusCode.ERROR}


@pytest.mark.scenario("every source of the session")
def test_parameter_is_stronger_than_a_block_and_a_block_than_the_thread(agent: Any, spans: Spans) -> None:
    hello: Any = {"messages": [("user", "hello")]}
    with pandaprobe.session("block"):
        handler = DeepAgentsCallbackHandler(session_id="parameter", user_id="ada", tags=["beta"])
        agent.invoke(hello, config(handler))
        agent.invoke(hello, config(DeepAgentsCallbackHandler()))
    agent.invoke(hello, config(DeepAgentsCallbackHandler()))
    for number, session_id in enumerate(("parameter", "block", "thread-1")):
        assert_session(spans.ended[2 * number : 2 * number + 2], session_id)
    first = spans.ended[1].attributes or {}
    assert (first["user.id"], first[attributes.PANDAPROBE_TAGS]) == ("ada", ("beta",))


@pytest.mark.scenario("inside a trace")
def test_run_inside_a_trace_is_a_part_of_it(agent: Any, spans: Spans) -> None:
    with pandaprobe.start_trace("turn", session_id="mine"):
        agent.invoke(TASK, config(DeepAgentsCallbackHandler()))
    assert tree(spans.ended) == ["turn", *(f"  {line}" for line in RUN)]
    assert_session(spans.ended, "mine")


@pytest.mark.scenario("wrapped client beneath")
def test_wrapped_client_beneath_makes_no_second_span(models: Models, spans: Spans) -> None:
    client = wrap_openai(openai.OpenAI(base_url=models.openai, api_key="none", max_retries=0))
    model = ChatOpenAI(model="gpt-4o", client=client.chat.completions, root_client=client, api_key="none")
    deep(model).invoke(TASK, config(DeepAgentsCallbackHandler()))
    assert tree(spans.ended) == RUN
    assert spans.tokens() == models.served()
