"""What is logged, and how often."""

import logging

import pytest

from pandaprobe_otel import guard

LOGGER = logging.getLogger("pandaprobe_otel.tests")


def test_error_that_goes_on_is_said_once_in_five_minutes_with_its_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for second in range(0, 3600, 30):
        monkeypatch.setattr(guard, "monotonic", lambda second=second: float(second))
        guard.warn_once(LOGGER, "outage", "no answer from %s", "there", every=guard.REPEATED)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 12
    assert lines[0] == "no answer from there"
    assert set(lines[1:]) == {"no answer from there (and 9 times since this was said last)"}


def test_what_is_said_of_the_users_code_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for second in range(0, 36_000, 30):
        monkeypatch.setattr(guard, "monotonic", lambda second=second: float(second))
        guard.warn_once(LOGGER, "slash", "the id has a slash")
    assert len(caplog.records) == 1
