"""The test span: every answer that it can get, and what doctor says of it."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from otlp_receiver import Answer, Receiver, attributes_of

from pandaprobe_otel.doctor import Report

CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"
Examine = Callable[..., Report]


def why(report: Report) -> tuple[str, str]:
    """The one thing that stops spans, and the fix."""
    assert not report.arrives
    (finding,) = [finding for finding in report.findings if finding.stops]
    return finding.text, finding.fix


def delivery(report: Report) -> dict[str, Any]:
    return report.as_json()["delivery"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_span_arrives_over_otlp(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(receiver.url, PANDAPROBE_API_KEY="k", PANDAPROBE_PROJECT_NAME="p")
    assert report.arrives
    assert report.as_text().startswith(f"A span arrives in PandaProbe at {receiver.url}, over OTLP.\n")
    assert attributes_of(receiver.span("pandaprobe-otel doctor")) == {"session.id": "pandaprobe-otel doctor"}
    assert (receiver.headers[0]["X-API-Key"], receiver.headers[0]["X-Project-Name"]) == ("k", "p")


def test_both_wires_are_tried_with_the_same_span(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(receiver.url)
    assert receiver.paths == ["/v1/traces", "/traces"]
    otel_id = receiver.span("pandaprobe-otel doctor").trace_id.hex()
    (trace,) = receiver.bodies
    assert trace["trace_id"].replace("-", "") == otel_id
    assert trace["session_id"] == "pandaprobe-otel doctor"
    assert delivery(report)["wire"] == "OTLP"
    assert delivery(report)["REST"].startswith(f"POST {receiver.url}/traces answered 200 in ")


def test_rest_is_in_use_where_there_is_no_otlp(examined: Examine) -> None:
    with Receiver((404, {}, b""), (202, {}, b"{}")) as receiver:
        report = examined(receiver.url)
    assert report.arrives
    assert delivery(report)["wire"] == "REST"
    assert "answered 404 Not Found: there is no receiver there" in delivery(report)["OTLP"]


def test_only_the_wire_that_is_set_is_tried(examined: Examine) -> None:
    with Receiver((404, {}, b"")) as receiver:
        report = examined(receiver.url, PANDAPROBE_PROTOCOL="rest")
    assert receiver.paths == ["/traces"]
    text, fix = why(report)
    assert text == f"REST: POST {receiver.url}/traces answered 404 Not Found: there is no receiver there"
    assert fix == "PANDAPROBE_ENDPOINT is the base URL, without /v1/traces; check it"


@pytest.mark.parametrize(
    ("answer", "text", "fix"),
    [
        ((401, {}, b""), "401 Unauthorized: the API key is refused", "set PANDAPROBE_API_KEY to a valid key"),
        (
            (403, {}, b""),
            "403 Forbidden: the API key may not write to this project",
            "check PANDAPROBE_PROJECT_NAME and the key's rights",
        ),
        (
            (301, {"Location": "https://other.example/v1/traces"}, b""),
            "301 Moved Permanently: redirects are not followed, spans would be lost",
            "set PANDAPROBE_ENDPOINT to where it redirects, https://other.example",
        ),
        (
            (429, {}, b'{"error": "Rate limit exceeded"}'),
            "429 Too Many Requests: too many requests",
            "run doctor again in 60 seconds; spans are sent by themselves then",
        ),
        (
            (429, {}, b'{"detail": "You have reached the traces limit."}'),
            "429 Too Many Requests: You have reached the traces limit.",
            "upgrade the plan, or wait for its next period; spans wait in the spool",
        ),
        (
            (422, {}, b'{"detail": "invalid\\nproject name"}'),
            "422 Unprocessable Entity: invalid project name",
            "check PANDAPROBE_PROJECT_NAME and the other settings",
        ),
        ((407, {}, b""), "407 Proxy Authentication Required", "put user and password into HTTPS_PROXY"),
        ((503, {}, b""), "503 Service Unavailable", "try again later; until then spans wait in the spool"),
        (
            (200, {"Content-Type": "text/html"}, b"<html>"),
            "answered with a web page, so this is no receiver",
            "PANDAPROBE_ENDPOINT is the base URL of the API, not of the web application",
        ),
        ((200, {}, b"\x0a\x02\x08\x01"), "answered 200, but rejected the span", "see the receiver's log"),
    ],
)
def test_every_answer_is_explained(examined: Examine, answer: Answer, text: str, fix: str) -> None:
    with Receiver(answer) as receiver:
        said, what_to_do = why(examined(receiver.url))
    assert said.startswith(f"OTLP: POST {receiver.url}/v1/traces answered ")
    # Python 3.13 calls 422 by another name.
    assert text in said.replace("Unprocessable Content", "Unprocessable Entity")
    assert what_to_do == fix


def test_nobody_listens(examined: Examine) -> None:
    text, fix = why(examined(f"http://127.0.0.1:{(port := free_port())}"))
    assert text.endswith(f"nothing listens at 127.0.0.1:{port}")
    assert "`pandaprobe-otel local` is one" in fix


def test_receiver_does_not_answer_in_time(examined: Examine) -> None:
    with Receiver(None) as receiver:
        text, fix = why(examined(receiver.url, PANDAPROBE_TIMEOUT="0.2"))
    assert text.endswith("no answer within 0.2 s")
    assert fix.startswith("raise PANDAPROBE_TIMEOUT")


def test_name_is_unknown(examined: Examine) -> None:
    text, fix = why(
        examined("http://pandaprobe.invalid", PANDAPROBE_API_KEY="k", PANDAPROBE_PROJECT_NAME="p")
    )
    assert text.endswith("the name pandaprobe.invalid cannot be resolved (DNS)")
    assert fix.startswith("check the spelling of PANDAPROBE_ENDPOINT")


def test_proxy_is_away_and_its_password_is_not_shown(examined: Examine) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    report = examined(
        "http://pandaprobe.invalid",
        PANDAPROBE_API_KEY="k",
        PANDAPROBE_PROJECT_NAME="p",
        http_proxy=f"http://me:hunter2@{proxy}",
    )
    text, fix = why(report)
    assert text.endswith(f"there is no connection through the proxy http://***@{proxy}")
    assert fix == "check HTTPS_PROXY, or add pandaprobe.invalid to NO_PROXY"
    assert "hunter2" not in report.as_text()


@contextmanager
def with_tls(receiver: Receiver) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = receiver._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    # A handshake that fails is the client's to report.
    server.handle_error = lambda *_: None
    with receiver:
        yield receiver.url.replace("http:", "https:")


def test_certificate_is_not_trusted(examined: Examine) -> None:
    with with_tls(Receiver()) as url:
        text, fix = why(examined(url))
    assert "the certificate is not trusted (TLS): self" in text
    assert fix == "set OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file with its certificate authority"


def test_certificate_is_trusted_when_it_is_named(examined: Examine) -> None:
    with with_tls(Receiver()) as url:
        assert examined(url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(CERTIFICATE)).arrives


def test_certificate_is_of_another_host(examined: Examine) -> None:
    with with_tls(Receiver()) as url:
        other = url.replace("127.0.0.1", "localhost")
        text, fix = why(examined(other, OTEL_EXPORTER_OTLP_CERTIFICATE=str(CERTIFICATE)))
    assert "ostname mismatch" in text
    assert fix.endswith("that the certificate is for, instead of localhost")


def test_certificate_file_is_not_there(examined: Examine) -> None:
    with with_tls(Receiver()) as url:
        text, _ = why(examined(url, OTEL_EXPORTER_OTLP_CERTIFICATE="/nowhere.pem"))
    assert "a certificate file cannot be read (No such file or directory)" in text


def test_endpoint_has_no_tls(examined: Examine) -> None:
    with Receiver() as receiver:
        text, fix = why(examined(receiver.url.replace("http:", "https:")))
    assert text.endswith("the endpoint does not speak TLS as expected")
    assert fix.startswith("use http:// in PANDAPROBE_ENDPOINT")


def test_endpoint_breaks_off(examined: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        text, fix = why(examined(f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert "the connection broke (" in text
    assert "https://" in fix


@pytest.mark.parametrize(("ahead", "word"), [(-7200, "behind"), (7200, "ahead of")])
def test_clock_that_is_wrong_is_noted(examined: Examine, ahead: float, word: str) -> None:
    receiver = Receiver()
    handler: Any = receiver._server.RequestHandlerClass
    handler.date_time_string = lambda self, *_: formatdate(time.time() - ahead, usegmt=True)
    with receiver:
        report = examined(receiver.url)
    assert report.arrives
    (note,) = [finding.text for finding in report.findings if "clock" in finding.text]
    assert note.startswith("the clock of this machine is 7")
    assert f" {word} the receiver's" in note
