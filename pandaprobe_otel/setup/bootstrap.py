"""Which instrumentations fit the LLM libraries that are installed, and which are in each other's way."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from importlib.util import find_spec
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet


class _Official(NamedTuple):
    """OpenTelemetry's instrumentation of a library, and the versions of the library that it takes."""

    name: str
    takes: str
    entry_point: str


# https://github.com/open-telemetry/opentelemetry-python-genai; each at 1.2b0 or 1.3b0, with these ranges.
_GENAI = "opentelemetry-instrumentation-genai-"
_OFFICIAL = {
    "openai": _Official(f"{_GENAI}openai", ">=1.26,<4", "openai"),
    "anthropic": _Official(f"{_GENAI}anthropic", ">=0.51,<3", "anthropic"),
    "google-genai": _Official("opentelemetry-instrumentation-google-genai", ">=1.32,<3", "google-genai"),
    "boto3": _Official(f"{_GENAI}bedrock", ">=1.40.46,<2", "bedrock"),
    "langchain": _Official(f"{_GENAI}langchain", ">=0.3.22,<2", "langchain"),
    "openai-agents": _Official(f"{_GENAI}openai-agents", ">=0.3.3,<1", "openai_agents"),
    "llama-index-core": _Official(f"{_GENAI}llama-index", ">=0.14.19,<1", "llama_index"),
    "agno": _Official(f"{_GENAI}agno", ">=2,<4", "agno"),
    "dspy": _Official(f"{_GENAI}dspy", ">=3.3,<4", "dspy"),
    "portkey-ai": _Official(f"{_GENAI}portkey", ">=1,<3", "portkey"),
    "qwen-agent": _Official(f"{_GENAI}qwen-agent", ">=0.0.20,<1", "qwen-agent"),
    "smolagents": _Official(f"{_GENAI}smolagents", ">=1.24,<2", "smolagents"),
}
# What this package traces itself, and as what: where there is no official one, or in its place.
_OURS = {
    "langchain": "pandaprobe_langchain",
    "openai-agents": "pandaprobe_openai_agents",
    "google-adk": "pandaprobe_google_adk",
    "crewai": "pandaprobe_crewai",
    "claude-agent-sdk": "pandaprobe_claude_agent_sdk",
    "google-genai": "pandaprobe_gemini",
    "mistralai": "pandaprobe_mistral",
    "litellm": "pandaprobe_litellm",
}
_NATIVE = {
    "google-adk": SpecifierSet(">=1"),
    "anthropic": SpecifierSet(">=2"),
}
_REPLACED_BY = {
    "opentelemetry-instrumentation-openai-v2": f"{_GENAI}openai",
    "opentelemetry-instrumentation-openai-agents-v2": f"{_GENAI}openai-agents",
}


@dataclass(frozen=True)
class Survey:
    """What `survey` found.

    Attributes:
        lines: What to say, a line for each library and each problem.
        missing: Requirements of the official instrumentations that fit and are not installed.
        problems: What is in the way, and what to do about it; each is one of the lines, too.
    """

    lines: list[str]
    missing: list[str]
    problems: list[tuple[str, str]]

    def complain(self, text: str, fix: str, between: str) -> None:
        """Adds a problem."""
        self.problems.append((text, fix))
        self.lines.append(f"! {text}{between}{fix}")


def survey(distributions: Iterable[Distribution]) -> Survey:
    """Looks through installed packages.

    Args:
        distributions: Those of an environment, as `importlib.metadata.distributions()` gives them.
    """
    installed = {_normalized(found.name): found for found in distributions}
    found = Survey([], [], [])
    for library, official in _OFFICIAL.items():
        if library in installed:
            _official(found, library, installed[library].version, official, official.name in installed)
    for library in _OURS:
        if library in installed and library not in {*_OFFICIAL, *_NATIVE}:
            found.lines.append(_by_ourselves(library, installed[library].version))
    for library, versions in _NATIVE.items():
        if library in installed and versions.contains(installed[library].version, prereleases=True):
            found.lines.append(_native(library, installed))
    for old, new in _REPLACED_BY.items():
        if old in installed:
            found.complain(f"{old} is deprecated", f"{new} replaces it", "; ")
    for library in dict.fromkeys([*_OFFICIAL, *_OURS]):
        names = sorted(name for name, each in installed.items() if _instruments(each, library))
        if library in _OURS:
            # The official one gives way.
            others = [name for name in names if library not in _OFFICIAL or name != _OFFICIAL[library].name]
            if others and library in installed:
                text = (
                    f"{' and '.join(others)} beside pandaprobe-otel: each call of {library} is traced twice"
                )
                found.complain(text, "uninstall what is not needed", "; ")
        elif len(names) > 1:
            found.complain(f"{' and '.join(names)} all instrument {library}", "uninstall all but one", ": ")
    return found


def _official(found: Survey, library: str, version: str, official: _Official, is_installed: bool) -> None:
    line = f"{library} {version}: {official.name}"
    takes_it = SpecifierSet(official.takes).contains(version, prereleases=True)
    if not takes_it and library in _OURS:
        found.lines.append(_by_ourselves(library, version))
    elif not takes_it:
        fix = "it makes no spans; wrap its clients with pandaprobe_otel.wrappers"
        found.complain(f"{line} takes {library} {official.takes} only", fix, ": ")
    elif is_installed:
        found.lines.append(f"{line}, installed")
    else:
        found.lines.append(f"{line}, missing")
        # The version is there for installers, which take a pre-release only where one is named.
        found.missing.append(f"{official.name}>=1.0b0")


def _by_ourselves(library: str, version: str) -> str:
    return f"{library} {version}: pandaprobe-otel itself, as {_OURS[library]}"


def _native(library: str, installed: dict[str, Distribution]) -> str:
    line = f"{library} {installed[library].version}: makes spans by itself"
    if library in _OFFICIAL and _OFFICIAL[library].name in installed:
        line += "; under opentelemetry-instrument they are off, as there would be two a call"
    return line


def _instruments(distribution: Distribution, library: str) -> bool:
    names = {point.name for point in distribution.entry_points if point.group == "opentelemetry_instrumentor"}
    if not names:
        return False
    known = _OFFICIAL[library].entry_point if library in _OFFICIAL else library
    return known in names or any(_is_of(requirement, library) for requirement in distribution.requires or ())


def _is_of(text: str, library: str) -> bool:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    return _normalized(requirement.name) == library and "instruments" in str(requirement.marker)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def install(requirements: Sequence[str]) -> int:
    """Installs packages into the environment that this runs in, by pip or uv; the installer's exit status.

    Raises:
        LookupError: When there is neither.
    """
    if find_spec("pip"):
        installer = [sys.executable, "-m", "pip", "install"]
    elif uv := shutil.which("uv"):
        installer = [uv, "pip", "install", "--python", sys.executable]
    else:
        raise LookupError("neither pip nor uv is installed here")
    return subprocess.run([*installer, *requirements], check=False).returncode
