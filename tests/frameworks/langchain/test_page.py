"""docs/frameworks.md says what was run of the frameworks of this environment."""

import framework_page
import pytest


@pytest.mark.parametrize(
    ("framework", "package"),
    [
        ("LangChain", "langchain"),
        ("LangGraph", "langgraph"),
        ("Deep Agents", "deepagents"),
    ],
)
def test_page_has_what_is_run(collected: list[pytest.Item], framework: str, package: str) -> None:
    framework_page.check(collected, framework, package)
