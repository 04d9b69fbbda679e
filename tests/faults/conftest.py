from collections.abc import Callable
from pathlib import Path

import pytest
from programs import Program


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Program]:
    """Runs a program with a spool of this test's own."""

    def run(url: str, code: str, *, under: tuple[str, ...] = (), **environment: str) -> Program:
        settings = {"PANDAPROBE_ENDPOINT": url, "PANDAPROBE_SPOOL_DIR": str(tmp_path / "spool")}
        return Program(code, under=under, **{**settings, **environment})

    return run
