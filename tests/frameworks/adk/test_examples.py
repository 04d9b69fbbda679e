"""The example of Google's ADK, as users run it."""

import pytest
from framework_examples import printed_by, steps, traced_by_page


@pytest.mark.scenario("example", of="Google ADK")
def test_example_shows_its_session() -> None:
    assert steps(printed_by("with_google_adk.py")) == [
        "Session conversation-123",
        "Trace invoke_workflow meteorologist",
        "CHAIN invoke_workflow meteorologist",
        "AGENT invoke_agent meteorologist",
        "LLM generate_content stand-in",
        "TOOL execute_tool get_weather",
        "LLM generate_content stand-in",
        "Trace invoke_workflow meteorologist",
        "CHAIN invoke_workflow meteorologist",
        "AGENT invoke_agent meteorologist",
        "LLM generate_content stand-in",
    ]


def test_snippet_of_the_page_runs() -> None:
    assert traced_by_page("google_adk") == []
