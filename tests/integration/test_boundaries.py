"""What arrives at hosts that are ours and at a vendor's, from every client that injects baggage."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import in_process
import pytest
from environments import install, python_of

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("boundary_clients.py")
CHANNELS = Path(__file__).with_name("grpc_channels.py")
PAGE = Path(__file__).parents[2] / "docs" / "boundaries.md"

CLIENTS = [
    *("requests", "httpx", "httpx2", "aiohttp", "urllib3", "grpcio", "boto3", "kafka-python", "pika"),
    *("openai", "anthropic"),
]
INSTRUMENTED = [
    "requests",
    "httpx",
    "aiohttp-client",
    "urllib",
    "urllib3",
    "grpc",
    "botocore",
    "kafka-python",
    "pika",
]

# Where the ids go besides HTTP headers to hosts that are ours.
MESSAGES = ("botocore, SNS message", "kafka-python", "pika")


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    environment = tmp_path_factory.mktemp("clients") / "env"
    instrumentations = [f"opentelemetry-instrumentation-{name}" for name in INSTRUMENTED]
    install(environment, f"{wheel}[openai]", *CLIENTS, *instrumentations)
    return str(python_of(environment))


@pytest.fixture(scope="module")
def arrived(python: str) -> Mapping[str, Mapping[str, Any]]:
    """What arrived, by the names of attributes that the instrumentations use and then by the client."""
    # The resolver that asks the server that is named in a target.
    variables = {**in_process.clean_environment(), "GRPC_DNS_RESOLVER": "ares"}
    runs = {
        names: subprocess.Popen(
            [python, str(PROGRAM)],
            env={**variables, "OTEL_SEMCONV_STABILITY_OPT_IN": names},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for names in ("", "http")
    }
    results: dict[str, Any] = {}
    for names, run in runs.items():
        output, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        results[names] = json.loads(output)
    return results


def ids_in(texts: list[str]) -> set[bool]:
    assert texts
    return {"the-session" in text or "the-user" in text or "pandaprobe" in text for text in texts}


@pytest.mark.parametrize("names", ["", "http"], ids=["old names", "new names"])
def test_ids_arrive_inside_and_in_messages_and_nowhere_else(arrived: Any, names: str) -> None:
    for client, seen in arrived[names].items():
        assert ids_in(seen["ours"]) == {True}, client
        assert ids_in(seen["vendor"]) == {client in MESSAGES}, client


@pytest.mark.parametrize("names", ["", "http"], ids=["old names", "new names"])
def test_what_others_send_arrives_everywhere(arrived: Any, names: str) -> None:
    for client, seen in arrived[names].items():
        for text in (*seen["ours"], *seen["vendor"]):
            assert "traceparent" in text.lower(), client
            assert "theirs=1" in text, client


@pytest.mark.parametrize("client", ["grpc", "grpc, async"])
def test_all_four_kinds_of_calls_over_grpc_arrive(arrived: Any, client: str) -> None:
    assert len(arrived[""][client]["ours"]) == len(arrived[""][client]["vendor"]) == 4


@pytest.fixture(scope="module")
def channels(python: str) -> Mapping[str, Any]:
    """The baggage that arrived over gRPC, by what there is about the channel or the call."""
    environment = in_process.clean_environment()
    run = subprocess.run(
        [python, str(CHANNELS)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


OURS = "theirs=1,session.id=c-1,pandaprobe.context="


@pytest.mark.parametrize(
    "channel",
    [
        *("not sampled", "not sampled, async", "a socket", "an interceptor of theirs"),
        *("instrumented again", "instrumented again, async"),
    ],
)
def test_ids_go_along_over_a_channel_to_a_target_of_ours(channels: Any, channel: str) -> None:
    assert channels[channel].startswith(OURS)


# A call whose metadata are too long may be refused by the server.
@pytest.mark.parametrize("channel", ["one of two is ours", "full"])
def test_ids_do_not_go_along_where_others_are_called_or_there_is_no_room(channels: Any, channel: str) -> None:
    assert channels[channel] == "theirs=1"


@pytest.mark.parametrize(
    "channel", ["not instrumented", "not instrumented any more", "not instrumented, four arguments"]
)
def test_call_over_grpc_that_nobody_instruments_is_as_it_was(channels: Any, channel: str) -> None:
    assert channels[channel] == ""


def test_grpc_is_not_imported_by_us(channels: Any) -> None:
    assert channels["imported by us"] is False


@pytest.mark.parametrize("names", ["", "http"], ids=["old names", "new names"])
def test_ids_follow_a_redirect_only_to_a_host_of_ours(arrived: Any, names: str) -> None:
    redirected = {client: seen for client, seen in arrived[names].items() if "/elsewhere" in seen}
    assert redirected.keys() == {"requests", "urllib", "urllib3", "httpx", "httpx2", "aiohttp"}
    for client, seen in redirected.items():
        assert ids_in(seen["/elsewhere"]) == {False}, client
        assert ids_in(seen["/inside"]) == {True}, client
        assert "theirs=1" in seen["/elsewhere"][0], client


@pytest.mark.parametrize("names", ["", "http"], ids=["old names", "new names"])
def test_what_is_injected_by_hand_arrives_at_a_vendor_too(arrived: Any, names: str) -> None:
    by_hand = {client: seen["by hand"] for client, seen in arrived[names].items() if "by hand" in seen}
    assert by_hand.keys() == {"requests", "urllib", "urllib3", "httpx", "httpx2", "aiohttp", "grpc"}
    for client, texts in by_hand.items():
        assert "theirs=1,session.id=the-session" in texts[0], client
        assert texts[0].count("pandaprobe.context") == 1, client


def test_table_of_clients_is_what_arrived(arrived: Any) -> None:
    rows = [
        f"| {client} | {seen['version']} | {answer(seen['ours'])} | {answer(seen['vendor'])} |"
        for client, seen in arrived[""].items()
    ]
    shown = [line for line in PAGE.read_text().splitlines() if line.endswith((" yes |", " no |"))]
    # Other versions may be the newest by now.
    assert [without_version(row) for row in shown] == [without_version(row) for row in rows], "\n".join(rows)


def answer(texts: list[str]) -> str:
    return "yes" if True in ids_in(texts) else "no"


def without_version(row: str) -> list[str]:
    _, client, _, *answers = row.split("|")
    return [client, *answers]
