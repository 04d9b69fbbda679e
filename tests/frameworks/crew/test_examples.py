"""The example of CrewAI, as users run it."""

import pytest
from framework_examples import printed_by, steps


@pytest.mark.scenario("example", of="CrewAI")
def test_example_shows_its_session() -> None:
    assert steps(printed_by("with_crewai.py")) == [
        "Session conversation-123",
        "Trace invoke_workflow forecast",
        "CHAIN task",
        "AGENT invoke_agent meteorologist",
        "LLM chat gpt-5.4-nano",
        "TOOL execute_tool get_weather",
        "LLM chat gpt-5.4-nano",
        "Trace invoke_workflow forecast",
        "CHAIN task",
        "AGENT invoke_agent meteorologist",
        "LLM chat gpt-5.4-nano",
    ]
