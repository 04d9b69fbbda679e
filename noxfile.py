"""Everything that is run on the project, locally and in CI: `make test`, or `nox -s NAME`."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nox

ROOT = Path(__file__).parent
WORK = ROOT / "build"
REPORTS = WORK / "reports"
LOWEST = "tests/constraints/lowest.txt"
EXTRAS = "[openai,local]"
# What litellm's proxy imports.
PROXY = ("backoff", "fastapi", "orjson", "redis", "soundfile")
# Extras and versions: the newest majors, those before, which litellm needs, and those before them.
PROVIDERS = {
    "newest": ("[openai,anthropic,bedrock,gemini,mistral]", ("openai>=3", "anthropic>=2", "aiobotocore")),
    "older": (
        "[openai,anthropic,gemini,mistral,litellm]",
        # litellm calls tools by way of mcp and reads Anthropic's streams by its proxy, without saying so.
        ("openai<3", "anthropic<1", "google-genai<3", "mistralai[agents]<3", "mcp", *PROXY),
    ),
    "oldest": (
        "[openai,anthropic,gemini,mistral]",
        ("openai<2", "anthropic<0.60", "google-genai<2", "mistralai<2"),
    ),
}
# The tables of surfaces, without what is the same for all of them.
_TABLES = (
    "matrix",
    "openai",
    "anthropic",
    "anthropic_tools",
    "gemini",
    "gemini_interactions",
    "gemini_live",
    "mistral",
    "mistral_conversations",
    "mistral_platforms",
    "mistral_responses",
    "openai_others",
    "openai_platforms",
    "openai_tools",
    "operations",
    "operation_streams",
    "request_id",
    "views",
    "realtime",
    "responses_connection",
    "page",
)
TABLES = " or ".join(f"test_{name}.py" for name in _TABLES)
# Minutes of real time, or of properties of pure functions, in which hardly anything depends on versions.
SLOW = ("faults", "setup/test_coexistence.py", "export/test_assembly.py", "export/test_mapping_clean.py")
# Tests that need other packages.
OTHERS = ("tests/providers", "tests/frameworks")
# Frameworks that cannot share an environment: our extras, and what the tests need beside them.
FRAMEWORKS = {
    "langchain": (
        "[openai,local,langgraph,deepagents]",
        "langchain-openai",
        "opentelemetry-instrumentation-urllib",
    ),
    # Its newest stops at OpenTelemetry 1.44.
    "adk": ("[local,google-adk]",),
    # Its newest begins at OpenTelemetry 1.45.1, and takes openai 2.
    "crew": ("[local,crewai,openai]",),
    "agents": ("[local,openai-agents,claude-agent-sdk]", "opentelemetry-instrumentation-genai-openai-agents"),
}
# It takes half as long again, so the oldest versions, which run what the others run, are not measured.
COVERAGE = ("--cov", "--cov-report=")
# What bench/ compares with.
PEERS = ("opentelemetry-processor-baggage", "arize-phoenix-otel", "langfuse")

PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
SUPPORTED = nox.project.python_versions(PYPROJECT)


def installed_pythons() -> list[str]:
    """The supported versions that this machine has; PATH is made to lead to those that pyenv keeps."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for version in SUPPORTED:
        kept = sorted(pyenv.glob(f"{version}.*/bin"))
        if runs(shutil.which(f"python{version}")):
            found.append(version)
        elif kept:
            found.append(version)
            os.environ["PATH"] = f"{kept[-1]}{os.pathsep}{os.environ['PATH']}"
    return found or [f"{sys.version_info.major}.{sys.version_info.minor}"]


def runs(program: str | None) -> bool:
    """Whether it is an interpreter: pyenv puts shims on PATH that fail for versions that are not active."""
    return (
        bool(program)
        and subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode == 0
    )


# The oldest supported version is asked for even where it is not installed, so that the skip is seen.
TESTED = list(dict.fromkeys([SUPPORTED[0], installed_pythons()[-1]]))

nox.needs_version = ">=2026.10"
nox.options.allow_parallel = True
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "integration", "report"]


def group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)


def install_wheel(session: nox.Session, *requirements: str, extras: str = EXTRAS) -> Path:
    """Installs the wheel with what is newest, or with what the given constraints say."""
    (wheel,) = (WORK / "wheel").glob("*.whl")
    session.install("--upgrade", f"{wheel}{extras}", *requirements)
    # Its version stays the same while its code changes.
    session.install("--force-reinstall", "--no-deps", str(wheel))
    return wheel


def run_pytest(session: nox.Session, *args: str, folder: str = "tests") -> None:
    """Tests below a folder; those that need other packages have sessions of their own."""
    name = re.sub(r"[^\w.]+", "-", session.name).strip("-")
    # From a folder that holds no package, so that no subprocess of a test finds the checkout either.
    with session.chdir(REPORTS):
        session.run(
            "pytest",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--junitxml={name}.xml",
            f"--override-ini=cache_dir={session.cache_dir / name}",
            f"--cov-config={ROOT / 'pyproject.toml'}",
            *args,
            *session.posargs,
            *([f"--ignore={ROOT / other}" for other in OTHERS] if folder == "tests" else []),
            str(ROOT / folder),
            env={"PANDAPROBE_EXPECT_WHEEL": "1", "COVERAGE_FILE": f".coverage.{name}"},
        )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the walls between the rooms."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")


@nox.session
def wheel(session: nox.Session) -> None:
    """The wheel that the other sessions install; made from the sdist, so that this is whole too."""
    shutil.rmtree(WORK, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    session.install("build[uv]")
    session.run("python", "-m", "build", "--installer=uv", f"--outdir={WORK / 'wheel'}", silent=True)


@nox.session(requires=["wheel"])
def types(session: nox.Session) -> None:
    """The package in pyright's strict mode, against the newest of what it stands on."""
    extras = "[openai,anthropic,bedrock,gemini,mistral,local,langgraph,openai-agents,claude-agent-sdk]"
    install_wheel(session, *group("types"), "aiobotocore", extras=extras)
    session.run("pyright")


@nox.session(requires=["wheel"])
@nox.parametrize("python,otel", [(TESTED[-1], "newest"), (TESTED[0], "lowest")])
def tests(session: nox.Session, otel: str) -> None:
    """The installed wheel: the oldest Python with the lowest dependencies, and the newest with the newest."""
    constraints, left_out = [], []
    if otel == "lowest":
        constraints = ["--constraint", LOWEST]
        left_out = [f"--ignore={ROOT / 'tests' / slow}" for slow in SLOW]
    install_wheel(session, *group("test"), *constraints)
    measured = COVERAGE if otel == "newest" else ()
    run_pytest(session, "-m", "not integration", *measured, *left_out)


@nox.session(requires=["programs", "providers", "frameworks"], venv_backend="none")
def integration(session: nox.Session) -> None:
    """With what others make: programs and packages, the SDKs of providers, agent frameworks."""


@nox.session(requires=["wheel"])
def programs(session: nox.Session) -> None:
    """Beside other packages and against other programs."""
    built = install_wheel(session, *group("integration"))
    session.env["PANDAPROBE_WHEEL"] = str(built)
    run_pytest(session, "-m", "integration", "--timeout=600")


@nox.session(requires=["wheel"])
@nox.parametrize("majors", list(PROVIDERS))
def providers(session: nox.Session, majors: str) -> None:
    """The wrappers, with three sets of SDKs that install together."""
    extras, versions = PROVIDERS[majors]
    install_wheel(session, *group("providers"), *versions, extras=extras)
    names = str(ROOT / "tests/wrappers/test_undocumented.py")
    # What is not of a version runs with the newest.
    of_versions = f"litellm or test_undocumented.py or (({TABLES}) and not no_fault)"
    chosen = [] if majors == "newest" else ["-k", of_versions]
    measured = COVERAGE if majors != "oldest" else ()
    run_pytest(session, *measured, *chosen, names, folder="tests/providers")


@nox.session(python=TESTED[-1], requires=["wheel"])
@nox.parametrize("environment", list(FRAMEWORKS))
def frameworks(session: nox.Session, environment: str) -> None:
    """Agent frameworks, those together that can share an environment."""
    extras, *others = FRAMEWORKS[environment]
    install_wheel(session, *group("providers"), *others, extras=extras)
    run_pytest(session, *COVERAGE, folder=f"tests/frameworks/{environment}")


@nox.session(requires=["tests", "integration"])
def report(session: nox.Session) -> None:
    """Coverage of the runs together, and how many tests there were."""
    session.install("coverage")
    session.env["COVERAGE_FILE"] = str(REPORTS / ".coverage")
    session.run("coverage", "combine", "--quiet", "--keep", str(REPORTS))
    session.run("coverage", "report")
    suites = [suite for file in REPORTS.glob("*.xml") for suite in ET.parse(file).iter("testsuite")]
    ran, failed, errors, skipped = (
        sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    bad = failed + errors
    (REPORTS / "total.txt").write_text(f"{ran - bad - skipped} passed, {bad} failed, {skipped} skipped\n")


@nox.session(requires=["wheel"], allow_parallel=False)
def bench(session: nox.Session) -> None:
    """What tracing costs, beside others; alone on the machine."""
    install_wheel(session, *PEERS)
    session.run("python", str(ROOT / "bench/run.py"), *session.posargs)
    session.run("python", str(ROOT / "bench/wrappers.py"))


@nox.session
def docs(session: nox.Session) -> None:
    """The pages of docs/ as a site in build/site; a link that leads nowhere fails."""
    session.install("mkdocs")
    settings = {
        "site_name": PYPROJECT["project"]["name"],
        "docs_dir": str(ROOT / "docs"),
        "site_dir": str(WORK / "site"),
        "validation": {"links": {"anchors": "warn", "unrecognized_links": "warn"}},
    }
    WORK.mkdir(exist_ok=True)
    # JSON is YAML.
    (WORK / "mkdocs.yml").write_text(json.dumps(settings))
    session.run("mkdocs", "build", "--strict", "--quiet", "--config-file", str(WORK / "mkdocs.yml"))
