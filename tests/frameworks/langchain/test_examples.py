"""The examples of LangChain and its relatives, as users run them."""

import pytest
from framework_examples import printed_by, steps, traced_by_page


@pytest.mark.scenario("example", of="LangGraph")
def test_example_of_langgraph_shows_its_session() -> None:
    turn = ["Trace invoke_workflow LangGraph", "CHAIN answer", "LLM chat gpt-5.4-nano"]
    assert steps(printed_by("with_langgraph.py")) == ["Session conversation-123", *turn, *turn]


@pytest.mark.scenario("example", of="LangChain")
def test_example_of_langchain_shows_its_sessions() -> None:
    assert steps(printed_by("with_langchain.py")) == [
        "Session conversation-123",
        "Trace invoke_workflow RunnableSequence",
        "LLM chat gpt-5.4-nano",
        "Session conversation-124",
        "Trace invoke_agent meteorologist",
        "LLM chat gpt-5.4-nano",
        "TOOL execute_tool get_weather",
        "LLM chat gpt-5.4-nano",
    ]


@pytest.mark.scenario("example", of="Deep Agents")
def test_example_of_deepagents_shows_its_session() -> None:
    assert steps(printed_by("with_deepagents.py")) == [
        "Session conversation-123",
        "Trace invoke_agent researcher",
        "LLM chat gpt-5.4-nano",
        "TOOL execute_tool task",
        "AGENT invoke_agent geographer",
        "LLM chat gpt-5.4-nano",
        "LLM chat gpt-5.4-nano",
    ]


def test_program_of_the_page_makes_its_spans() -> None:
    names = ["invoke_workflow LangGraph", "answer", "chat gpt-5.4-nano"]
    assert traced_by_page("langgraph") == [(name, "conversation-123") for name in names]
