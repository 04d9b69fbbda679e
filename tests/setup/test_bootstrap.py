"""`pandaprobe-otel bootstrap`: what it says of environments, which are metadata as installers write it."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import pytest

from pandaprobe_otel.setup.bootstrap import Survey, survey

# Name, version, entry point and instrumented library of each.
Installed = tuple[str, ...]
GENAI_OPENAI = ("opentelemetry-instrumentation-genai-openai", "1.3b0", "openai", "openai<4,>=1.26.0")


@pytest.fixture
def surveyed(tmp_path: Path) -> Callable[..., Survey]:
    def survey_of(*packages: Installed) -> Survey:
        for name, version, *instruments in packages:
            info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            if instruments:
                entry_point, library = instruments
                metadata += f"Requires-Dist: {library}; extra == 'instruments'\n"
                points = f"[opentelemetry_instrumentor]\n{entry_point} = package:Instrumentor\n"
                (info / "entry_points.txt").write_text(points)
            (info / "METADATA").write_text(metadata)
        return survey(distributions(path=[str(tmp_path)]))

    return survey_of


def test_what_fits_and_is_missing_is_named_with_what_installs_it(surveyed: Callable[..., Survey]) -> None:
    found = surveyed(("openai", "3.54.0"), ("boto3", "1.44.5"), ("requests", "2.32.0"), GENAI_OPENAI)
    assert found.lines == [
        "openai 3.54.0: opentelemetry-instrumentation-genai-openai, installed",
        "boto3 1.44.5: opentelemetry-instrumentation-genai-bedrock, missing",
    ]
    assert found.missing == ["opentelemetry-instrumentation-genai-bedrock>=1.0b0"]


def test_a_version_that_the_official_one_refuses_is_named_and_not_installed(
    surveyed: Callable[..., Survey],
) -> None:
    found = surveyed(("openai", "4.0.0"))
    assert found.lines == [
        "! openai 4.0.0: opentelemetry-instrumentation-genai-openai takes openai >=1.26,<4 only:"
        " it makes no spans; wrap its clients with pandaprobe_otel.wrappers"
    ]
    assert not found.missing


def test_a_version_that_only_we_take_is_ours(surveyed: Callable[..., Survey]) -> None:
    found = surveyed(("google-genai", "3.6.1"))
    assert found.lines == ["google-genai 3.6.1: pandaprobe-otel itself, as pandaprobe_gemini"]
    assert not found.missing


def test_a_library_without_an_official_one_comes_after_those_that_have_one(
    surveyed: Callable[..., Survey],
) -> None:
    found = surveyed(("crewai", "1.15.30"), ("openai", "2.54.0"))
    assert [line.partition(" ")[0] for line in found.lines] == ["openai", "crewai"]
    assert found.lines[1] == "crewai 1.15.30: pandaprobe-otel itself, as pandaprobe_crewai"
    assert found.missing == ["opentelemetry-instrumentation-genai-openai>=1.0b0"]


def test_deprecated_and_colliding_ones_are_named(surveyed: Callable[..., Survey]) -> None:
    found = surveyed(
        ("openai", "3.54.0"),
        GENAI_OPENAI,
        ("opentelemetry-instrumentation-openai-v2", "2.4b0", "openai", "openai>=1.26.0"),
        ("openinference_instrumentation_openai", "0.1.66", "oi_openai", "OpenAI>=2.8.0"),
    )
    assert (
        "! opentelemetry-instrumentation-openai-v2 is deprecated;"
        " opentelemetry-instrumentation-genai-openai replaces it"
    ) in found.lines
    assert (
        "! openinference-instrumentation-openai and opentelemetry-instrumentation-genai-openai"
        " and opentelemetry-instrumentation-openai-v2 all instrument openai: uninstall all but one"
    ) in found.lines


def test_what_traces_a_framework_beside_this_package_is_named_but_not_the_official_one(
    surveyed: Callable[..., Survey],
) -> None:
    found = surveyed(
        ("langchain", "1.5.2"),
        ("crewai", "1.15.30"),
        ("opentelemetry-instrumentation-genai-langchain", "1.3b0", "langchain", "langchain<2,>=0.3.22"),
        ("openinference-instrumentation-crewai", "1.1.21", "crewai", "crewai>=0.41.1"),
        # Its library is not there.
        ("openinference-instrumentation-openai-agents", "2.6.0", "openai_agents", "openai-agents>=0.1"),
    )
    assert [text for text, _ in found.problems] == [
        "openinference-instrumentation-crewai beside pandaprobe-otel: each call of crewai is traced twice"
    ]


def test_a_library_that_makes_its_own_spans_is_said_to(surveyed: Callable[..., Survey]) -> None:
    found = surveyed(("anthropic", "2.12.0"))
    assert "anthropic 2.12.0: makes spans by itself" in found.lines


def test_the_command_installs_into_the_environment_that_it_runs_in(tmp_path: Path) -> None:
    """By the installer that is there; a stand-in for pip writes down how it was called."""
    (tmp_path / "pip.py").write_text("import sys; print('installing', *sys.argv[1:])")
    info = tmp_path / "boto3-1.44.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: boto3\nVersion: 1.44.5\n")
    run = subprocess.run(
        [sys.executable, "-m", "pandaprobe_otel", "bootstrap", "--install"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "installing install opentelemetry-instrumentation-genai-bedrock>=1.0b0" in run.stdout
