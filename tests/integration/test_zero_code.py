"""The examples without telemetry code, run by the wheel in environments that are made as their pages say."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from environments import install, python_of
from in_process import clean_environment
from otlp_receiver import Receiver, attributes_of

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(environment: Path, *command: str, **variables: str) -> str:
    """Runs a program of the environment."""
    run = subprocess.run(
        [str(python_of(environment)), *command],
        cwd=environment,
        env={**clean_environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clients of OpenAI and Anthropic, and our wheel; the instrumentations are what `bootstrap` installs."""
    environment = tmp_path_factory.mktemp("zero-code") / "env"
    install(environment, f"{wheel}[local]", "openai", "anthropic>=2", "opentelemetry-configuration")
    said = run(environment, "-m", "pandaprobe_otel", "bootstrap", "--install", PATH=os.environ["PATH"])
    assert "opentelemetry-instrumentation-genai-openai, missing" in said
    return environment


def test_a_program_without_telemetry_prints_its_session(environment: Path) -> None:
    said = run(environment, str(EXAMPLES / "run.py"), str(EXAMPLES / "zero_code/app.py"))
    session = said[said.index("Session ") :]
    assert session.startswith("Session from-outside · 3 traces · ")
    assert session.count("LLM chat gpt-5.4-nano") == 3
    assert "What about Germany? → The capital of Germany is Berlin." in session


def test_a_configuration_file_names_exporter_and_settings(environment: Path) -> None:
    said = run(
        environment,
        str(EXAMPLES / "run.py"),
        str(EXAMPLES / "zero_code/app.py"),
        OTEL_CONFIG_FILE=str(EXAMPLES / "zero_code/otel.yaml"),
    )
    console, _, session = said.partition("Session ")
    assert console.count('"name": "chat gpt-5.4-nano"') == 3
    assert console.count('"session.id": "from-outside"') == 3
    assert session.startswith("from-outside · 3 traces · ")
    assert session.count("LLM chat gpt-5.4-nano") == 3


FILE = """
file_format: "1.0"
tracer_provider:
  processors: [{simple: {exporter: {console: {}}}}]
distribution:
  pandaprobe: {endpoint: URL, project_name: of the file, environment: staging, spool_dir: "off"}
"""
WORK = """
from opentelemetry import trace
trace.get_tracer("theirs").start_span("work", attributes={"gen_ai.operation.name": "chat"}).end()
"""


def test_what_a_configuration_file_says_wins_over_the_environment(environment: Path, tmp_path: Path) -> None:
    with Receiver() as receiver:
        (tmp_path / "otel.yaml").write_text(FILE.replace("URL", receiver.url))
        console = run(
            environment,
            str(environment / "bin/opentelemetry-instrument"),
            *(str(python_of(environment)), "-c", WORK),
            OTEL_CONFIG_FILE=str(tmp_path / "otel.yaml"),
            PANDAPROBE_ENDPOINT="http://127.0.0.1:9",
            PANDAPROBE_PROJECT_NAME="of the environment",
        )
    assert console.count('"name": "work"') == 1
    assert [span.name for span in receiver.spans] == ["work"]
    assert receiver.resource["deployment.environment.name"] == "staging"
    assert receiver.headers[0]["X-Project-Name"] == "of the file"


MESSAGE = """
import anthropic
question = {"role": "user", "content": "hi"}
anthropic.Anthropic().messages.create(model="claude-x", max_tokens=9, messages=[question])
"""
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


@pytest.mark.parametrize(
    ("disabled", "name"),
    [("", "chat claude-x"), ("anthropic", "anthropic.messages.create")],
    ids=["instrumented", "by itself"],
)
def test_a_client_that_makes_its_own_spans_makes_one_a_call(
    environment: Path, disabled: str, name: str
) -> None:
    answer = (200, {"Content-Type": "application/json"}, json.dumps(ANSWER).encode())
    with Receiver(answer) as model, Receiver() as receiver:
        run(
            environment,
            str(environment / "bin/opentelemetry-instrument"),
            *(str(python_of(environment)), "-c", MESSAGE),
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY="none",
            PANDAPROBE_ENDPOINT=receiver.url,
            PANDAPROBE_SPOOL_DIR="off",
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled,
        )
    (span,) = receiver.spans
    assert span.name == name
    assert {"gen_ai.input.messages", "gen_ai.output.messages"} <= attributes_of(span).keys()


def test_a_guest_prints_its_session_and_the_other_distribution_its_spans(
    environment: Path, wheel: Path, tmp_path: Path
) -> None:
    packages = ("opentelemetry-distro", "opentelemetry-instrumentation-genai-openai>=1.3b0")
    install(tmp_path / "env", f"{wheel}[local]", "openai", *packages)
    said = run(
        tmp_path / "env",
        str(EXAMPLES / "run.py"),
        str(EXAMPLES / "guest/app.py"),
        OTEL_TRACES_EXPORTER="console",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    console, _, session = said.partition("Session ")
    assert console.count('"session.id": "conversation-123"') == 2
    assert '"telemetry.distro.name": "pandaprobe-otel"' not in console
    assert session.startswith("conversation-123 · 1 trace · ")
    assert session.count("LLM chat gpt-5.4-nano") == 1
