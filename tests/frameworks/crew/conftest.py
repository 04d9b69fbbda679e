"""What the model answers, and CrewAI without the telemetry that phones home."""

import json
import os
from typing import Any

# Read when it is imported.
os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

import pytest

from ..conftest import calls, usage

WORK = '{"task":"hello","context":"None.","coworker":"meteorologist"}'


# What CrewAI's memory asks a model about an answer, and what is said to it.
MEMORY = {
    "Extract memory statements": {"memories": ["A greeting was given."]},
    "Content to store": {"suggested_scope": "/", "categories": [], "importance": 0.5},
    "Existing similar memories": {"actions": [], "insert_new": True, "insert_reason": ""},
}


def pytest_configure(config: pytest.Config) -> None:
    for ignored in (
        # Of its own, and of what it is made of.
        "ignore::DeprecationWarning",
        "ignore::ImportWarning",
        "ignore:unclosed:ResourceWarning",
        "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
        "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    ):
        config.addinivalue_line("filterwarnings", ignored)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crews keep what tasks gave in the user's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def scripts() -> list[dict[str, Any]]:
    return [
        *(
            {
                "match": {"userMessage": asked},
                "response": {"content": json.dumps(answer), "usage": usage(20, 6)},
            }
            for asked, answer in MEMORY.items()
        ),
        {"match": {"inputText": "."}, "response": {"embedding": [0.25, 0.5]}},
        {
            "match": {"userMessage": "weather", "hasToolResult": False},
            "response": {**calls("get_weather", '{"city":"Paris"}'), "usage": usage(50, 7)},
        },
        {
            "match": {"userMessage": "weather", "hasToolResult": True},
            "response": {"content": "It is sunny in Paris.", "usage": usage(64, 6)},
        },
        {
            "match": {"userMessage": "broken", "hasToolResult": False},
            "response": {**calls("fail", "{}"), "usage": usage(40, 5)},
        },
        {
            "match": {"userMessage": "broken", "hasToolResult": True},
            "response": {"content": "It does not work.", "usage": usage(44, 4)},
        },
        {
            "match": {"userMessage": "delegate", "hasToolResult": False},
            "response": {**calls("delegate_work_to_coworker", WORK), "usage": usage(46, 9)},
        },
        {
            "match": {"userMessage": "delegate", "hasToolResult": True},
            "response": {"content": "They say hi.", "usage": usage(66, 5)},
        },
        {
            "match": {"userMessage": "It is polite."},
            "response": {"content": '{"valid": true, "feedback": null}', "usage": usage(30, 4)},
        },
        {
            "match": {"userMessage": "limited"},
            "response": {"error": {"message": "Slow down.", "type": "rate_limit_error"}, "status": 429},
        },
        {"match": {"userMessage": "hello"}, "response": {"content": "Hi there.", "usage": usage(12, 3)}},
    ]
