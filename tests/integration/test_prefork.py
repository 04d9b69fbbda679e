"""Servers that fork their workers: each sends its own spans, once, also what is queued when it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import in_process
import pytest
from otlp_receiver import Receiver

pytestmark = pytest.mark.integration

WEB = """
import pandaprobe_otel as pandaprobe
from opentelemetry import trace

pandaprobe.init()
# With a connection open before the fork.
trace.get_tracer("web").start_span("boot").end()
pandaprobe.flush()

def app(environ, start_response):
    with pandaprobe.session("s"):
        trace.get_tracer("web").start_span(environ["PATH_INFO"]).end()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
TASKS = """
import os
from celery import Celery
import pandaprobe_otel as pandaprobe
from opentelemetry import trace

app = Celery("tasks", broker="filesystem://", backend=None)
folder = os.environ["BROKER"]
app.conf.broker_transport_options = {"data_folder_in": folder, "data_folder_out": folder}
pandaprobe.init()

@app.task
def work(number):
    with pandaprobe.session("s"):
        trace.get_tracer("tasks").start_span(str(number)).end()
"""


def environment(receiver: Receiver, folder: Path) -> dict[str, str]:
    return {
        **in_process.clean_environment(),
        "PANDAPROBE_ENDPOINT": receiver.url,
        "PANDAPROBE_EXPORT": "all",
        "PANDAPROBE_SPOOL_DIR": str(folder / "spool"),
        # Longer than the test, so that only the end of a worker sends.
        "PANDAPROBE_FLUSH_INTERVAL": "600",
        "BROKER": str(folder / "broker"),
        "PYTHONPATH": str(folder),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str) -> None:
    urllib.request.urlopen(url, timeout=5).close()


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        get(url)
    except OSError:
        return False
    return True


def test_gunicorn_with_a_preloaded_application(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "web.py").write_text(WEB)
    port = free_port()
    command = (sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "web:app")
    with Receiver() as receiver:
        with subprocess.Popen(
            command, env=environment(receiver, tmp_path), stderr=subprocess.DEVNULL
        ) as server:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/first"))
            for number in range(50):
                get(f"http://127.0.0.1:{port}/{number}")
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        receiver.wait_for(lambda: len(receiver.spans) >= 52)
        assert Counter(span.name for span in receiver.spans) == Counter(
            ["boot", "/first", *(f"/{number}" for number in range(50))]
        )


def test_celery_with_forked_workers(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    (tmp_path / "tasks.py").write_text(TASKS)
    broker = tmp_path / "broker"
    broker.mkdir()
    with Receiver() as receiver:
        env = environment(receiver, tmp_path)
        send = "import tasks\nfor number in range(50): tasks.work.delay(number)"
        subprocess.run((sys.executable, "-c", send), env=env, check=True)
        command = (sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", "2", "-l", "ERROR")
        with subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as worker:
            wait_until(lambda: not os.listdir(broker))
            # The last message is taken before its task has run.
            time.sleep(2)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        receiver.wait_for(lambda: len(receiver.spans) >= 50)
        assert Counter(span.name for span in receiver.spans) == Counter(str(number) for number in range(50))
