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
# Its instrumentation does not say who is called.
SILENT = ("grpc",)


@pytest.fixture(scope="module")
def arrived(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    """What arrived, by the names of attributes that the instrumentations use and then by the client."""
    environment = tmp_path_factory.mktemp("clients") / "env"
    instrumentations = [f"opentelemetry-instrumentation-{name}" for name in INSTRUMENTED]
    install(environment, f"{wheel}[openai]", *CLIENTS, *instrumentations)
    runs = {
        names: subprocess.Popen(
            [str(python_of(environment)), str(PROGRAM)],
            env={**in_process.clean_environment(), "OTEL_SEMCONV_STABILITY_OPT_IN": names},
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
        assert ids_in(seen["ours"]) == {client not in SILENT}, client
        assert ids_in(seen["vendor"]) == {client in MESSAGES}, client


@pytest.mark.parametrize("names", ["", "http"], ids=["old names", "new names"])
def test_what_others_send_arrives_everywhere(arrived: Any, names: str) -> None:
    for client, seen in arrived[names].items():
        for text in (*seen["ours"], *seen["vendor"]):
            assert "traceparent" in text.lower(), client
            assert "theirs=1" in text, client


@pytest.mark.parametrize("names", ["", "http"], ids=["old names", "new names"])
def test_ids_follow_a_redirect_where_the_client_asks_nobody(arrived: Any, names: str) -> None:
    redirected = {
        client: seen["redirected"] for client, seen in arrived[names].items() if "redirected" in seen
    }
    taken_along = {client for client, texts in redirected.items() if True in ids_in(texts)}
    assert taken_along == {"requests", "urllib", "aiohttp"}
    assert redirected.keys() - taken_along == {"urllib3", "httpx", "httpx2"}


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
