"""Programs that make spans while something goes wrong, each a process of its own."""

import json
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import in_process
from otlp_receiver import Receiver

_MAKE = """
import json, os, sys, time
import pandaprobe_otel as pandaprobe
from opentelemetry import trace

def make(count, prefix=""):
    tracer = trace.get_tracer("theirs")
    with pandaprobe.session("s"):
        for number in range(count):
            tracer.start_span(f"{prefix}{number}").end()

def tell(**facts):
    stats = pandaprobe.get_client().stats()
    facts |= {"made": stats.made, "sent": stats.sent, "lost": stats.lost, "last_error": stats.last_error}
    print(json.dumps(facts), flush=True)

pandaprobe.init()
"""


class Program:
    """A process that makes spans.

    Args:
        code: What it does after `init`. `make` makes spans, `tell` has the test know of facts and `stats`.
        under: The program that it is started by.
    """

    def __init__(self, code: str, *, under: tuple[str, ...] = (), **environment: str) -> None:
        self.errors = ""
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [*under, sys.executable, "-W", "error", "-c", _MAKE + textwrap.dedent(code)],
            env={**in_process.clean_environment(), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for_line(self) -> str:
        assert self._process.stdout is not None
        self._lines.append(self._process.stdout.readline())
        return self._lines[-1].strip()

    def go_on(self) -> None:
        """Has the program's `input()` return."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, seconds: float = 60) -> int:
        lines, self.errors = self._process.communicate(timeout=seconds)
        self._lines += lines.splitlines()
        assert "Traceback" not in self.errors, self.errors
        return self._process.returncode

    @property
    def told(self) -> dict[str, Any]:
        """The facts of `tell`."""
        told: dict[str, Any] = {}
        for line in self._lines:
            if line.startswith("{"):
                told |= json.loads(line)
        return told

    @property
    def warnings(self) -> list[str]:
        """What was logged, without a handler of the program's."""
        return self.errors.splitlines()


def stored(*receivers: Receiver) -> Counter[str]:
    return Counter(span.name for receiver in receivers for span in receiver.spans)


def all_once(count: int, prefix: str = "") -> Counter[str]:
    return Counter(f"{prefix}{number}" for number in range(count))


def port_of(receiver: Receiver) -> int:
    return int(receiver.url.rsplit(":", 1)[1])


def spool_is_empty(tmp_path: Path) -> bool:
    return not [path for path in (tmp_path / "spool").rglob("*") if path.suffix == ".db"]
