"""Sessions from service to service: both in Python, and with one in between that is not."""

import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import node
import pytest
from environments import install, python_of
from in_process import clean_environment
from opentelemetry import baggage, propagate
from opentelemetry.context import Context, attach, detach
from otlp_receiver import Receiver, attributes_of
from pandaprobe_server import Server

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import propagation
from pandaprobe_otel.export.mapping import to_traces
from pandaprobe_otel.export.mapping.decoding import records_of

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "examples" / "services"
JAVASCRIPT = ("@opentelemetry/api@1.9.0", "@opentelemetry/core@2.0.0", "@opentelemetry/sdk-trace-node@2.0.0")


class Upstream(BaseHTTPRequestHandler):
    arrived: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        Upstream.arrived = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None: ...


@contextmanager
def running(*command: str, **environment: str) -> Iterator[str]:
    """A service; the URL at the port that it prints first."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def middle() -> Iterator[str]:
    """The URL of a service in JavaScript that calls `Upstream`."""
    modules = node.installed("otel-js-2.0.0", *JAVASCRIPT)
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        upstream = f"http://127.0.0.1:{server.server_port}"
        program = Path(__file__).with_name("middle_hop.cjs")
        with running(node.node(), str(program), NODE_PATH=str(modules), UPSTREAM=upstream) as url:
            yield url
        server.shutdown()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.mark.parametrize(
    "id",
    [
        *("conversation-123", "a b", "a+b", "100%", "%41", "a,b;c=d", '"q"\\', "é", "\U0001f43c"),
        "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    ],
)
def test_id_goes_through_a_service_in_javascript_unchanged(middle: str, receiver: Receiver, id: str) -> None:
    pandaprobe.init(api_key="sk_pp_1", project_name="shop", endpoint=receiver.url)
    headers: dict[str, str] = {}
    token = attach(baggage.set_baggage("theirs", "1"))
    with pandaprobe.session(id), pandaprobe.user(id), pandaprobe.start_trace("turn") as turn:
        propagation.inject(headers)
    detach(token)
    with urlopen(Request(middle, headers=headers)) as answer:
        assert json.load(answer) == {"read": id}

    token = attach(propagate.extract(Upstream.arrived, Context()))
    assert (pandaprobe.current_session(), pandaprobe.current_user()) == (id, id)
    assert baggage.get_baggage("theirs") == "1"
    with pandaprobe.start_trace("called") as called:
        assert called.trace_id == turn.trace_id
        assert called.otel_trace_id == turn.otel_trace_id
    detach(token)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = tmp_path_factory.mktemp("services") / "env"
    instrumentations = (f"opentelemetry-instrumentation-{name}" for name in ("starlette", "urllib", "grpc"))
    install(environment, f"{wheel}[local]", "grpcio", *instrumentations)
    return environment


@pytest.fixture
def run(environment: Path, unused_tcp_port: int) -> Any:
    """Runs both services of the example against an endpoint; what they print."""
    python = str(python_of(environment))
    instrument = str(python_of(environment).with_name("opentelemetry-instrument"))
    variables = {
        **clean_environment(),
        "PANDAPROBE_API_KEY": "sk_pp_1",
        "PANDAPROBE_PROJECT_NAME": "shop",
        "PORT": str(unused_tcp_port),
        "BILLING": f"http://127.0.0.1:{unused_tcp_port}",
    }

    def start(program: str, endpoint: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [instrument, python, str(EXAMPLE / program)],
            env={**variables, "PANDAPROBE_ENDPOINT": endpoint},
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(endpoint: str, *, forged: bool = False) -> str:
        with start("billing.py", endpoint) as billing:
            try:
                wait_for(unused_tcp_port, billing)
                if forged:
                    headers = {"baggage": "session.id=victim,pandaprobe.context=1.dmljdGltCgo.x"}
                    urlopen(Request(f"{variables['BILLING']}/invoices/1", headers=headers)).close()
                with start("agent.py", endpoint) as agent:
                    said, _ = agent.communicate(timeout=60)
                assert agent.returncode == 0
            finally:
                billing.terminate()
            return billing.communicate()[0] + said

    return run


def wait_for(port: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    pytest.fail("billing did not start")


PRINTED = "billing works for conversation-123\nagent works for conversation-123\n"
# Every span of both services, and what it hangs under, without those that tell of ASGI.
TREE = {
    "GET": None,
    "GET /invoices/{order}": "GET",
    "billing": "GET /invoices/{order}",
    "find invoice": "billing",
}


def tree(spans: Iterable[dict[str, Any]]) -> dict[str, str | None]:
    names = {span["span_id"]: span["name"] for span in spans}
    return {
        span["name"]: names[span["parent_span_id"]] if span["parent_span_id"] else None
        for span in spans
        if not span["name"].endswith(" http send")
    }


def test_two_services_share_session_and_turn_by_otlp(run: Any) -> None:
    with Receiver() as receiver:
        assert run(receiver.url) == PRINTED
    assert {attributes_of(span)["session.id"] for span in receiver.spans} == {"conversation-123"}
    assert len({attributes_of(span)["pandaprobe.trace.id"] for span in receiver.spans}) == 1
    (trace,) = to_traces(record for request in receiver.requests for record in records_of(request) if record)
    assert (trace["name"], trace["session_id"]) == ("agent", "conversation-123")
    assert tree(trace["spans"]) == TREE


def test_two_services_share_session_and_turn_by_rest_and_a_forger_has_no_session(run: Any) -> None:
    with Server() as server:
        assert run(server.url, forged=True) == f"billing works for None\n{PRINTED}"
    forged, trace = sorted(server.receiver.stored().values(), key=lambda trace: trace["started_at"])
    assert (forged["name"], forged["session_id"], forged["user_id"]) == ("billing", None, None)
    assert (trace["name"], trace["session_id"], trace["status"]) == ("agent", "conversation-123", "COMPLETED")
    assert tree(trace["spans"].values()) == TREE


def test_two_services_over_grpc_share_session_and_turn_and_a_forger_has_no_session(environment: Path) -> None:
    command = [
        *(str(python_of(environment).with_name("opentelemetry-instrument")), str(python_of(environment))),
        str(Path(__file__).with_name("grpc_services.py")),
    ]
    variables = {
        **clean_environment(),
        "PANDAPROBE_API_KEY": "sk_pp_1",
        "PANDAPROBE_PROJECT_NAME": "shop",
    }
    with Receiver() as receiver:
        variables["PANDAPROBE_ENDPOINT"] = receiver.url
        with subprocess.Popen(
            [*command, "serve"], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            ports = server.stdout.readline().split()
            called = subprocess.run(
                [*command, "call", *ports], env=variables, capture_output=True, text=True, check=False
            )
            server.communicate("", timeout=30)
    assert called.stdout == "b'None' {b'c-1'}", called.stderr
    held = Counter(
        (attributes_of(span).get("session.id"), attributes_of(span).get("pandaprobe.trace.id"))
        for span in receiver.spans
    )
    # The forged call is the answer alone: its caller is not traced, and a span of a server is of no session.
    forged, turn = sorted(held.items(), key=lambda item: item[1])
    assert (forged[0][0], forged[1]) == (None, 1)
    assert (turn[0][0], turn[1]) == ("c-1", 1 + 16 * 3)
