"""What the tests of this folder share."""

import os
from pathlib import Path

import pytest
from environments import run_uv

ROOT = Path(__file__).parents[2]
WHEEL = os.environ.get("PANDAPROBE_WHEEL")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that nox built, or one that is built here."""
    if WHEEL:
        return Path(WHEEL)
    directory = tmp_path_factory.mktemp("wheel")
    run_uv("build", "--wheel", "--out-dir", str(directory), str(ROOT))
    return next(directory.glob("*.whl"))
