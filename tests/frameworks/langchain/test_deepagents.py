"""What `DeepAgentsCallbackHandler` promises, with real deep agents and models over real HTTP."""

import asyncio
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from span_tree import named, tree

from pandaprobe_otel import attributes
from pandaprobe_otel.integrations.deepagents import DeepAgentsCallbackHandler
from pandaprobe_otel.testing import assert_session

from ..conftest import Models, Spans

RUN = [
    "invoke_agent deep",
    "  chat gpt-4o",
    "  execute_tool task",
    "    invoke_agent expert",
    "      chat gpt-4o",
    "  chat gpt-4o",
]


@pytest.fixture
def agent(model: ChatOpenAI) -> Any:
    expert: Any = {
        "name": "expert",
        "description": "Knows it all.",
        "system_prompt": "Be brief.",
        "tools": [],
    }
    return create_deep_agent(model, [], subagents=[expert], name="deep", checkpointer=InMemorySaver())


def test_deep_agent_is_an_agent_with_its_sub_agent_under_the_tool(
    agent: Any, spans: Spans, models: Models
) -> None:
    handler = DeepAgentsCallbackHandler()
    run: Any = {"callbacks": [handler], "configurable": {"thread_id": "thread-1"}}
    agent.invoke({"messages": [("user", "give the task to the expert")]}, run)
    agent.invoke({"messages": [("user", "hello")]}, run)
    assert tree(spans.ended) == [*RUN, RUN[0], RUN[1]]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == models.served() == (43 + 12 + 62 + 12, 9 + 3 + 5 + 3)
    turns = {(span.attributes or {}).get(attributes.PANDAPROBE_TRACE_ID) for span in spans.ended}
    assert len(turns) == 2


async def test_deep_agents_at_the_same_time_stay_apart(agent: Any, spans: Spans) -> None:
    handler = DeepAgentsCallbackHandler()
    threads = ["thread-1", "thread-2", "thread-3"]

    async def run(thread: str) -> None:
        config: Any = {"callbacks": [handler], "configurable": {"thread_id": thread}}
        async for _ in agent.astream({"messages": [("user", "give the task to the expert")]}, config):
            pass

    await asyncio.gather(*map(run, threads))
    for thread in threads:
        mine = [span for span in spans.ended if (span.attributes or {})["session.id"] == thread]
        assert tree(mine) == RUN
        assert (named(mine, RUN[0]).attributes or {})["gen_ai.agent.name"] == "deep"
