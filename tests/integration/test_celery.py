"""Tasks of a real Celery worker: each runs in the session that it was sent in."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import in_process
import pytest
from environments import install, python_of
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_receiver import Receiver, attributes_of

pytestmark = pytest.mark.integration

TASKS = """
import os
from celery import Celery
import pandaprobe_otel as pandaprobe
from opentelemetry import trace

app = Celery("tasks", broker="filesystem://", backend=None)
folder = os.environ["BROKER"]
app.conf.broker_transport_options = {"data_folder_in": folder, "data_folder_out": folder}
app.conf.broker_connection_retry_on_startup = True
pandaprobe.init(export="all")
if os.environ.get("OFFICIAL"):
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    CeleryInstrumentor().instrument()
def note(name):
    trace.get_tracer("tasks").start_span(name).end()

@app.task
def work(name):
    note(name)
    return name

@app.task
def sets(name):
    pandaprobe.set_session("set by a task")
    note(name)

@app.task
def fails(name):
    note(name)
    raise ZeroDivisionError

@app.task(bind=True, max_retries=2)
def again(self, name):
    note(f"{name} {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0)

@app.task
def sends(name):
    note(name)
    work.delay(f"{name} by a task")

@app.task
def turn(name):
    with pandaprobe.start_trace(name):
        note(f"{name} step")

@app.task
def last():
    note("last")
"""
SEND = """
import tasks
import pandaprobe_otel as pandaprobe
from celery import chain, group
from opentelemetry import trace

with pandaprobe.session("Gespräch 1, 🐼"), pandaprobe.user("u"):
    tasks.work.delay("plain")
    tasks.work.apply_async(("later",), countdown=1)
    tasks.again.delay("again")
    tasks.sends.delay("sends")
    tasks.sets.delay("sets")
    tasks.fails.delay("fails")
    chain(tasks.work.si("chained 1"), tasks.work.si("chained 2"))()
    group(tasks.work.s("grouped 1"), tasks.work.s("grouped 2"))()
with pandaprobe.start_trace("turn", session_id="s-2"):
    tasks.turn.delay("sub-agent")
with trace.get_tracer("x").start_as_current_span("somebody else's"), pandaprobe.session("s-3"):
    tasks.work.delay("under a span")
for number in range(4):
    tasks.work.delay(f"outside {number}")
assert pandaprobe.flush()
"""
FIRST = "Gespräch 1, 🐼"
IN_THE_FIRST = {
    *("plain", "later", "again 0", "again 1", "again 2", "sends", "sends by a task", "fails"),
    *("chained 1", "chained 2", "grouped 1", "grouped 2"),
}

SEEN_IN_THE_FIRST = dict.fromkeys(sorted(IN_THE_FIRST), FIRST)


@pytest.fixture(params=["prefork", "threads"])
def pool(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def run_tasks(
    receiver: Receiver, folder: Path, pool: str, python: str = sys.executable, **extra: str
) -> None:
    """Sends the tasks, and has a worker run them until all are done."""
    (folder / "tasks.py").write_text(TASKS)
    (folder / "broker").mkdir()
    env = {
        **in_process.clean_environment(),
        "PANDAPROBE_ENDPOINT": receiver.url,
        "PANDAPROBE_EXPORT": "all",
        "PANDAPROBE_SPOOL_DIR": str(folder / "spool"),
        "PANDAPROBE_FLUSH_INTERVAL": "0.1",
        "BROKER": str(folder / "broker"),
        "PYTHONPATH": str(folder),
        **extra,
    }
    subprocess.run((python, "-c", SEND), env=env, cwd=folder, check=True)
    command = (
        python,
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "-c",
        "2",
        "-P",
        pool,
        "-l",
        "CRITICAL",
    )
    wanted = {*IN_THE_FIRST, "sets", "sub-agent", "sub-agent step", "under a span"}
    wanted |= {f"outside {number}" for number in range(4)}
    with subprocess.Popen(
        command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as worker:
        try:
            receiver.wait_for(lambda: wanted <= {span.name for span in receiver.spans}, seconds=60)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(30)


def sessions(receiver: Receiver) -> dict[str, str | None]:
    return {span.name: attributes_of(span).get("session.id") for span in receiver.spans}


def test_tasks_run_in_the_session_that_they_were_sent_in(
    receiver: Receiver, pool: str, tmp_path: Path
) -> None:
    pytest.importorskip("celery")
    run_tasks(receiver, tmp_path, pool)
    seen = sessions(receiver)
    assert {name: session for name, session in seen.items() if session == FIRST} == SEEN_IN_THE_FIRST
    assert seen["sets"] == "set by a task"
    assert seen["under a span"] == "s-3"
    assert [seen[f"outside {number}"] for number in range(4)] == [None] * 4
    assert attributes_of(receiver.span("plain"))["user.id"] == "u"
    # A part of the turn, under it; elsewhere parents stay as they were.
    turn, step = receiver.span("turn"), receiver.span("sub-agent step")
    assert receiver.span("sub-agent").parent_span_id == turn.span_id
    assert attributes_of(step)["pandaprobe.trace.id"] == attributes_of(turn)["pandaprobe.trace.id"]
    assert receiver.span("under a span").parent_span_id == b""


def test_tasks_have_their_session_where_celery_is_instrumented(
    receiver: Receiver, wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "env"
    install(environment, str(wheel), "celery", "opentelemetry-instrumentation-celery")
    # By its headers, which are believed when they are signed.
    project = {"PANDAPROBE_API_KEY": "sk_pp_test", "PANDAPROBE_PROJECT_NAME": "p"}
    run_tasks(receiver, tmp_path, "prefork", str(python_of(environment)), OFFICIAL="1", **project)
    seen = sessions(receiver)
    assert {name: seen[name] for name in SEEN_IN_THE_FIRST} == SEEN_IN_THE_FIRST
    assert [seen[f"outside {number}"] for number in range(4)] == [None] * 4
    assert {span.kind for span in receiver.spans} >= {Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER}
