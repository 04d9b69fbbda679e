"""What an instrumentor promises to `opentelemetry-instrument`, which asks nothing before."""

import logging

import pytest

from pandaprobe_otel.wrappers._instrumentor import Instrumentor
from pandaprobe_otel.wrappers._wrapping import Wrapping


class Wrong:
    """Not an instrumentor itself: what is made of one is made of its subclasses too."""

    name = "nothing"
    scope = "tests"

    def check_imports(self) -> None:
        raise AssertionError("it is not there")

    def fill(self, wrapping: Wrapping) -> None:
        raise AssertionError("there is nothing to wrap")


class OfNothing(Wrong, Instrumentor):
    versions = ("no-such-package >= 1",)


class OfWhatIsTooOld(Wrong, Instrumentor):
    versions = ("pytest > 1000",)


def test_sdk_that_is_not_installed_is_passed_over_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        OfNothing().instrument(skip_dep_check=True)
        OfNothing().uninstrument()
    assert caplog.messages == []


def test_version_that_is_not_known_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        OfWhatIsTooOld().instrument(skip_dep_check=True)
        OfWhatIsTooOld().uninstrument()
    (message,) = caplog.messages
    assert message.startswith("nothing is not traced")
    assert "pytest" in message
