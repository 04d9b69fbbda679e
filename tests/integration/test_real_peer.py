"""Sessions as an OTLP receiver sees them that is not ours: Datadog's test agent."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import in_process
import pytest

from pandaprobe_otel.local import demo
from pandaprobe_otel.local.fake_openai import FakeOpenAI

pytestmark = pytest.mark.integration

TURNS = """
import sys
import pandaprobe_otel as pandaprobe

pandaprobe.init(endpoint=sys.argv[1])
for turn in ("turn 1", "turn 2"):
    with pandaprobe.session("c-1"), pandaprobe.user("u-1"):
        with pandaprobe.start_trace(turn, input={"messages": [{"role": "user", "content": "hi"}]}) as t:
            with t.span("llm", kind="LLM", model="m") as s:
                s.set_output({"messages": [{"role": "assistant", "content": "hello"}]})
                s.set_token_usage(prompt_tokens=1, completion_tokens=2)
with pandaprobe.start_trace("outside"):
    pass
sys.exit(0 if pandaprobe.flush() else "not everything was delivered")
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def test_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of its OTLP receiver."""
    directory = tmp_path_factory.mktemp("test-agent")
    python = directory / "env" / "bin" / "python"
    subprocess.run(["uv", "-q", "venv", "--python", sys.executable, str(directory / "env")], check=True)
    subprocess.run(["uv", "-q", "pip", "install", "--python", str(python), "ddapm-test-agent"], check=True)
    otlp = free_port()
    log = directory / "log"
    with log.open("w") as output:
        agent = subprocess.Popen(
            [
                str(python.with_name("ddapm-test-agent")),
                *("--host", "127.0.0.1", "-p", str(free_port()), "--disable-llmobs-data-forwarding"),
                *("--otlp-http-port", str(otlp), "--otlp-grpc-port", str(free_port())),
            ],
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{otlp}"
    try:
        wait_until_ready(url, agent, log)
        yield url
    finally:
        agent.terminate()
        agent.wait(10)


def wait_until_ready(url: str, agent: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while agent.poll() is None and time.monotonic() < deadline:
        try:
            received(url)
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the test agent did not start:\n{log.read_text()}")


def received(url: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/test/session/traces", timeout=10) as response:
        requests = json.load(response)
    return [
        span
        for request in requests
        for resource in request["resource_spans"]
        for scope in resource["scope_spans"]
        for span in scope["spans"]
    ]


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {entry["key"]: next(iter(entry["value"].values())) for entry in span.get("attributes", [])}


def test_every_span_of_a_session_arrives_with_its_session_its_user_and_its_place_in_the_tree(
    test_agent: str, tmp_path: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", TURNS, test_agent], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr

    spans = [span for span in received(test_agent) if span["name"] in ("turn 1", "turn 2", "llm", "outside")]
    inside = [span for span in spans if attributes(span).get("session.id") == "c-1"]
    roots = {span["name"]: span for span in inside if not span.get("parent_span_id")}
    children = [span for span in inside if span.get("parent_span_id")]
    assert len(spans) == 5
    assert {attributes(span)["user.id"] for span in inside} == {"u-1"}
    assert sorted(roots) == ["turn 1", "turn 2"]
    assert {(child["trace_id"], child["parent_span_id"]) for child in children} == {
        (root["trace_id"], root["span_id"]) for root in roots.values()
    }
    assert len(children) == 2

    (outside,) = [span for span in spans if span not in inside]
    assert "session.id" not in attributes(outside)
    assert "user.id" not in attributes(outside)


def test_session_of_the_demo_is_read_back(test_agent: str, tmp_path: Path) -> None:
    example = next(path for path in demo._EXAMPLES if path.is_file())
    with FakeOpenAI() as openai:
        run = subprocess.run(
            [sys.executable, shutil.copy(example, tmp_path)],
            env={
                **in_process.clean_environment(),
                "PANDAPROBE_ENDPOINT": test_agent,
                "OPENAI_BASE_URL": openai.base_url,
                "OPENAI_API_KEY": "none",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert (run.returncode, run.stderr) == (0, "")
    session_id = run.stdout.split("session_id=")[1].strip()
    spans = [span for span in received(test_agent) if attributes(span).get("session.id") == session_id]
    assert [span["name"] for span in spans] == ["chat gpt-5.4-nano"] * 3
    assert [int(attributes(span)["gen_ai.usage.input_tokens"]) for span in spans] == [27, 46, 72]
