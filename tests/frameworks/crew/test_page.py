"""docs/frameworks.md says what was run of the frameworks of this environment."""

import framework_page
import pytest


def test_page_has_what_is_run(collected: list[pytest.Item]) -> None:
    framework_page.check(collected, "CrewAI", "crewai")
