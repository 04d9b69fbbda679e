"""What the command line promises, as the program that users start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from otlp_receiver import Receiver

from pandaprobe_otel import cli, settings
from pandaprobe_otel._version import __version__
from pandaprobe_otel.local import demo

for needed in ("openai", "starlette", "uvicorn", "opentelemetry.instrumentation.genai.openai"):
    pytest.importorskip(needed)

PROGRAM = (sys.executable, "-m", "pandaprobe_otel")


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**demo._without_settings({}), **_paths(), **environ}
    return subprocess.run([*PROGRAM, *arguments], env=env, capture_output=True, encoding="utf-8", check=False)


def _paths() -> dict[str, str]:
    return {
        name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "SYSTEMROOT") if name in os.environ
    }


def test_the_demo_prints_the_session_that_arrived_with_its_traces_tokens_and_times() -> None:
    # Settings of the user's own must not lead the demo's spans elsewhere.
    elsewhere = {
        "PANDAPROBE_ENABLED": "false",
        "OTEL_SDK_DISABLED": "true",
        "PANDAPROBE_ENDPOINT": "http://[::1]:1",
    }
    done = run("demo", PYTHONIOENCODING="utf-8", **elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    said, tree = done.stdout.split("All traces grouped under session_id=")
    session_id, *lines = tree.splitlines()
    assert "Bot:  The capital of France is Paris." in said
    head = rf"Session {session_id} · 3 traces · [\d.]+ m?s · 230 tokens"
    assert re.fullmatch(head, lines[1])
    assert len([line for line in lines if "─ Trace chat gpt-5.4-nano" in line]) == 3
    spans = [line for line in lines if "LLM chat gpt-5.4-nano" in line]
    assert [re.search(r"(\d+ \+ \d+ tokens \(16 reasoning\)) · [\d.]+ m?s$", line)[1] for line in spans] == [
        "27 + 24 tokens (16 reasoning)",
        "46 + 25 tokens (16 reasoning)",
        "72 + 36 tokens (16 reasoning)",
    ]
    assert "What about Germany? → The capital of Germany is Berlin." in tree
    assert max(map(len, lines)) <= 100


def test_the_demo_prints_on_a_terminal_that_knows_only_ascii() -> None:
    done = run("demo", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "`- Trace chat gpt-5.4-nano" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("raise SystemExit(3)", "The example ended with exit status 3"),
        ("pass", "The example ran, but no session arrived"),
    ],
)
def test_a_demo_whose_session_does_not_arrive_fails_and_says_so(
    program: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    example = tmp_path / "multi_turn.py"
    example.write_text(program)
    monkeypatch.setattr(demo, "_EXAMPLES", (example,))
    assert cli.main(["demo"]) == 1
    assert sentence in capsys.readouterr().err


def test_the_demo_uses_the_real_api_when_the_user_has_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    example = tmp_path / "multi_turn.py"
    example.write_text("import os; print(os.environ['OPENAI_API_KEY'], 'OPENAI_BASE_URL' in os.environ)")
    monkeypatch.setattr(demo, "_EXAMPLES", (example,))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert cli.main(["demo"]) == 1
    printed = capfd.readouterr().out
    assert "api.openai.com, with your OPENAI_API_KEY" in printed
    assert "sk-mine False" in printed


def test_the_demo_names_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pandaprobe_otel.local.server", None)
    assert cli.main(["demo"]) == 1
    assert "pip install 'pandaprobe-otel[local,openai]'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT for one process")
def test_local_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [*PROGRAM, "local", "--port", "0", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = re.search(r"http://\S+", server.stdout.readline())[0]
        with urllib.request.urlopen(f"{url}/sessions") as answer:
            assert json.load(answer)["items"] == []
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=30)
    assert (server.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) != []


def test_local_lets_other_machines_in_only_when_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["local", "--host", "0.0.0.0", "--directory", str(tmp_path)]) == 1
    assert "has no authentication" in capsys.readouterr().err


def test_local_says_when_the_port_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["local", "--port", str(port), "--directory", str(tmp_path)]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT for one process")
def test_doctor_says_that_a_span_arrives_at_the_local_receiver(tmp_path: Path) -> None:
    command = [*PROGRAM, "local", "--port", "0", "--directory", str(tmp_path / "local")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = re.search(r"http://\S+", server.stdout.readline())[0]
        done = run("doctor", PANDAPROBE_ENDPOINT=url, PYTHONIOENCODING="ascii")
        with urllib.request.urlopen(f"{url}/sessions") as answer:
            sessions = json.load(answer)["items"]
        server.send_signal(signal.SIGINT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"A span arrives in PandaProbe at {url}, over OTLP.")
    assert [session["session_id"] for session in sessions] == ["pandaprobe-otel doctor"]


def test_doctor_fails_and_says_why_as_json() -> None:
    with Receiver((401, {}, b"")) as receiver:
        done = run("doctor", "--json", PANDAPROBE_ENDPOINT=receiver.url, PANDAPROBE_SPOOL_DIR="off")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert report["arrives"] is False
    assert report["findings"][0]["fix"] == "set PANDAPROBE_API_KEY to a valid key"


@pytest.mark.skipif(sys.platform == "win32", reason="says it otherwise")
def test_a_reader_that_has_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*PROGRAM, "bootstrap"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_ends_with_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for option in settings.options():
        assert f"{option.env}  ({option.type_name}" in printed
        assert option.default_text in printed
        assert option.help in " ".join(printed.split())


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"pandaprobe-otel {__version__}\n"


def test_a_command_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
