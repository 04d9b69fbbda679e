"""What holds for every test."""

import os
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from opentelemetry import propagate

import pandaprobe_otel
from pandaprobe_otel import guard, runtime


def pytest_sessionstart() -> None:
    if os.environ.get("PANDAPROBE_EXPECT_WHEEL") == "1":
        found = Path(pandaprobe_otel.__file__)
        if not found.is_relative_to(sysconfig.get_path("purelib")):
            raise pytest.UsageError(f"the installed wheel is to be tested, but {found} is imported")


def pytest_report_header() -> str:
    packages = ("pandaprobe-otel", "opentelemetry-sdk", "opentelemetry-util-genai", "wrapt")
    return "tested: " + ", ".join(f"{name} {metadata.version(name)}" for name in packages)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # What one test leaves in the spool is not for the next one to send.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in list(os.environ):
        if name.startswith(("PANDAPROBE_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _loud_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "loud", True)
    guard.forget_warnings()


@pytest.fixture(autouse=True)
def _no_client_from_the_test_before() -> Iterator[None]:
    textmap = propagate.get_global_textmap()
    yield
    runtime.activate(None)
    propagate.set_global_textmap(textmap)
