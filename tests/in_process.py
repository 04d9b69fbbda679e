"""Runs a program in a process of its own: what it sets for the whole process stays there."""

import json
import os
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Runs a program with the instrumentations of its environment; for `under`.
INSTRUMENT = (str(Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument"),)


def path_with_other_distribution(folder: Path, code: str, entry_points: str, *, first: bool) -> str:
    """A PYTHONPATH with another distribution of OpenTelemetry on it.

    Args:
        folder: Where it is written.
        code: The module `other_distro`.
        entry_points: Of `other_distro`, as in `entry_points.txt`.
        first: Whether Python finds it before ours.
    """
    info = folder / "other_distro-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-distro\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    (folder / "other_distro.py").write_text(code)
    return str(folder) if first else f"{sysconfig.get_path('purelib')}:{folder}"


def run(program: str, *, under: Sequence[str] = (), seconds: float = 60, **environment: str) -> "Ended":
    """Runs Python code; what it passes to `tell` comes back as `told`.

    Args:
        program: The code.
        under: A program that runs Python, and its arguments.
        seconds: The longest time that it may take.
        environment: Variables besides those of the test, without PANDAPROBE_* and OTEL_*.
    """
    process = subprocess.run(
        [*under, sys.executable, "-W", "error", "-c", _PREAMBLE + textwrap.dedent(program)],
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(process)


def clean_environment() -> dict[str, str]:
    """The environment without what would set anything of the package."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PANDAPROBE_", "OTEL_"))
    }


_PREAMBLE = """
import json, sys
def tell(**facts): print("told " + json.dumps(facts), flush=True)
"""


class Ended:
    """What a program said, and how it ended."""

    def __init__(self, process: "subprocess.CompletedProcess[str]") -> None:
        self.code = process.returncode
        self.errors = process.stderr
        assert self.code == 0, self.errors
        self.told: dict[str, Any] = {}
        for line in process.stdout.splitlines():
            if line.startswith("told "):
                self.told |= json.loads(line[5:])
