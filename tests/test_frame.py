"""What the package promises as a package: what it costs to import, what it ships, what it asks for."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import pandaprobe_otel

PACKAGE = Path(pandaprobe_otel.__file__).parent
COSTLY = {
    *("anthropic", "boto3", "botocore", "google.genai", "langchain_core", "litellm", "mistralai", "openai"),
    *("aiohttp", "grpc", "httpx", "httpx2", "requests", "urllib3"),
    *("starlette", "uvicorn"),
    *("opentelemetry.exporter", "opentelemetry.sdk", "sqlite3"),
    *("pandaprobe_otel.export", "pandaprobe_otel.local", "pandaprobe_otel.wrappers"),
}


def test_importing_the_package_loads_no_sdk_no_exporter_no_provider_and_no_server() -> None:
    program = "import sys, pandaprobe_otel; print(*sys.modules, sep='\\n')"
    # Coverage, when it runs in subprocesses, loads sqlite3.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "pandaprobe_otel" in loaded
    assert not loaded & COSTLY


def test_no_module_has_400_lines() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length >= 400} == {}


def test_the_version_is_that_of_the_distribution() -> None:
    assert pandaprobe_otel.__version__ == metadata.version("pandaprobe-otel")


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.skipif(not os.environ.get("PANDAPROBE_EXPECT_WHEEL"), reason="only the wheel has it there")
def test_the_wheel_brings_the_example_that_the_demo_runs() -> None:
    assert (PACKAGE / "local" / "multi_turn.py").is_file()


def test_the_lowest_versions_that_are_tested_are_those_that_are_declared() -> None:
    # Other extras are tested with versions of their own: `nox -s providers frameworks`.
    others = re.compile(r"extra == ['\"](?!(openai|local)['\"])")
    required = "\n".join(one for one in metadata.requires("pandaprobe-otel") or [] if not others.search(one))
    declared = dict(re.findall(r"^([\w-]+)\b.*>=([\w.]+)", required, re.MULTILINE))
    constraints = (Path(__file__).parent / "constraints" / "lowest.txt").read_text()
    tested = dict(re.findall(r"^([\w-]+)==([\w.]+?)(?:\.0)*$", constraints, re.MULTILINE))
    assert declared.keys() - tested.keys() == {"openai", "typing-extensions"}
    assert tested == {name: minimum for name, minimum in declared.items() if name in tested}
