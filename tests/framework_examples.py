"""Runs what the examples and the page about frameworks show, with the packages of this environment."""

import re
import subprocess
import sys
from pathlib import Path

import in_process
from otlp_receiver import Receiver, attributes_of

from pandaprobe_otel.local.fake_openai import FakeOpenAI

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def printed_by(example: str) -> list[str]:
    """The lines of an example and of the sessions that it made."""
    process = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples/run.py"),
            "--plain",
            str(ROOT / "examples/frameworks" / example),
        ],
        env={**in_process.clean_environment(), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def traced_by_page(module: str) -> list[tuple[str, str | None]]:
    """Name and session of each span that the page's program with an integration makes, by start."""
    text = (ROOT / "docs/frameworks.md").read_text()
    (code,) = [code for code in _BLOCK.findall(text) if f"integrations.{module} " in code]
    with Receiver() as receiver, FakeOpenAI() as openai:
        in_process.run(
            code, PANDAPROBE_ENDPOINT=receiver.url, OPENAI_BASE_URL=openai.base_url, OPENAI_API_KEY="none"
        )
        spans = sorted(receiver.spans, key=lambda span: span.start_time_unix_nano)
    return [(span.name, str(attributes_of(span).get("session.id"))) for span in spans]


def steps(lines: list[str]) -> list[str]:
    """The lines of sessions, traces and spans, without numbers and drawing; sessions by their ids."""
    marked = [line for line in lines if " · " in line]
    texts = [re.sub(r"^[\s│├└─]+", "", line).split(" · ")[0] for line in marked]
    starts = [at for at, text in enumerate(texts) if text.startswith("Session ")]
    sessions = [texts[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    # They are shown by when they arrived, and two may have arrived together.
    return [text for session in sorted(sessions) for text in session]
