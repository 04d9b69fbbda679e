"""What README and docs show runs, and prints what they say."""

import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import in_process
import pytest
from otlp_receiver import Receiver

from pandaprobe_otel import settings
from pandaprobe_otel.local.fake_openai import FakeOpenAI

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets() -> list[object]:
    found: list[object] = []
    for page in PAGES:
        text = page.read_text()
        blocks = list(BLOCK.finditer(text))
        for block, following in zip_longest(blocks, blocks[1:]):
            if page.name == "frameworks.md":
                # In tests/frameworks, with the frameworks.
                continue
            prints = (
                following and following[1] == "text" and not text[block.end() : following.start()].strip()
            )
            if block[1] == "python":
                number = text.count("\n", 0, block.start()) + 1
                found.append(
                    pytest.param(block[2], following[2] if prints else "", id=f"{page.name}:{number}")
                )
    return found


def test_there_are_snippets() -> None:
    assert len(snippets()) >= 6


@pytest.mark.parametrize(("code", "printed"), snippets())
def test_snippet_runs_and_prints_what_it_says(code: str, printed: str) -> None:
    if "openai" in code:
        pytest.importorskip("openai")
    with Receiver() as receiver, FakeOpenAI() as openai:
        process = subprocess.run(
            [sys.executable, "-W", "error", "-c", code.replace("http://127.0.0.1:4318", receiver.url)],
            env={
                **in_process.clean_environment(),
                "PANDAPROBE_ENDPOINT": receiver.url,
                "OPENAI_BASE_URL": openai.base_url,
                "OPENAI_API_KEY": "none",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == printed


def test_table_of_settings_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("| `PANDAPROBE_")] == [
        f"| `{row.env}` | `{row.keyword}` | {row.type_name} | {row.default_text} | {row.help} |"
        for row in settings.options()
    ]


def test_table_of_faults_is_that_of_the_tests() -> None:
    page = (ROOT / "docs" / "delivery.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|") and "`test_" in line]
    assert len(rows) > 20
    tests = ROOT / "tests"
    pages = [*(tests / "faults").glob("test_*.py"), tests / "integration" / "test_prefork.py"]
    exist = {
        name for path in pages for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert {name for row in rows for name in re.findall(r"`(test_\w+)`", row)} == exist


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
