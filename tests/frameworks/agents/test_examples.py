"""The examples of the OpenAI Agents SDK and the Claude Agent SDK, as users run them."""

import pytest
from framework_examples import printed_by, steps, traced_by_page


@pytest.mark.scenario("example", of="OpenAI Agents SDK")
def test_example_of_openai_agents_shows_its_session() -> None:
    assert steps(printed_by("with_openai_agents.py")) == [
        "Session conversation-123",
        "Trace invoke_workflow Agent workflow",
        "AGENT invoke_agent meteorologist",
        "LLM chat gpt-5.4-nano",
        "TOOL execute_tool get_weather",
        "LLM chat gpt-5.4-nano",
        "Trace invoke_workflow Agent workflow",
        "AGENT invoke_agent meteorologist",
        "LLM chat gpt-5.4-nano",
    ]


@pytest.mark.scenario("example", of="Claude Agent SDK")
def test_example_of_claude_shows_its_session() -> None:
    assert steps(printed_by("with_claude_agent_sdk.py")) == [
        "Session conversation-123",
        "Trace invoke_agent claude",
        "LLM chat claude-sonnet-5",
        "TOOL execute_tool Bash",
        "LLM chat claude-sonnet-5",
        "Trace invoke_agent claude",
        "LLM chat claude-sonnet-5",
    ]


def test_program_of_the_page_makes_its_spans() -> None:
    names = ["invoke_workflow Agent workflow", "invoke_agent geographer", "chat gpt-5.4-nano"]
    assert traced_by_page("openai_agents") == [(name, "conversation-123") for name in names]


def test_snippet_of_the_page_about_claude_runs() -> None:
    assert traced_by_page("claude_agent_sdk") == []
