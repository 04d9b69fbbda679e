import gzip
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from pandaprobe_otel.local import server as server_module
from pandaprobe_otel.local.app import create_app
from pandaprobe_otel.local.hosts import is_loopback
from pandaprobe_otel.local.server import LocalServer
from pandaprobe_otel.local.store import FILE_NAME

SESSION = {"key": "session.id", "value": {"stringValue": "c-1"}}


def span(trace, number):
    entry = {"key": "pandaprobe.trace.id", "value": {"stringValue": f"{trace + 1:032x}"}}
    return {
        "traceId": f"{trace + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "parentSpanId": f"{1:016x}" if number else "",
        "name": f"span {number}",
        "startTimeUnixNano": str(1_780_000_000_000_000_000 + number),
        "endTimeUnixNano": "1780000001000000000",
        "attributes": [SESSION] if number else [SESSION, entry],
    }


def test_url_is_known_while_it_runs(tmp_path):
    server = LocalServer(tmp_path, port=0)
    assert server.url == ""
    with server:
        assert server.url.startswith("http://127.0.0.1:")
        assert not server.url.endswith(":0")
    assert server.url == ""


def test_data_outlives_the_server(tmp_path, api_of):
    with LocalServer(tmp_path, port=0) as server:
        api_of(server).post_json(span(0, 0))
    with LocalServer(tmp_path, port=0) as server:
        assert api_of(server).session_ids() == ["c-1"]


def test_nothing_runs_on_after_the_block(tmp_path):
    before = set(threading.enumerate())
    with LocalServer(tmp_path, port=0) as server:
        port = int(server.url.rpartition(":")[2])
        urllib.request.urlopen(f"{server.url}/health").close()
    # Worker threads of the web framework end with its event loop.
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]
    with closing(socket.create_server(("127.0.0.1", port))):
        pass


def test_taken_port_is_told(tmp_path):
    with LocalServer(tmp_path / "a", port=0) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match=r".*"), LocalServer(tmp_path / "b", port=port):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.com", "::", ""])
def test_other_hosts_need_to_be_allowed(tmp_path, host):
    with pytest.raises(ValueError, match="allow_remote"):
        LocalServer(tmp_path, host=host)


def test_other_hosts_can_be_allowed(tmp_path):
    with LocalServer(tmp_path, host="0.0.0.0", port=0, allow_remote=True) as server:
        port = server.url.rpartition(":")[2]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/health", headers={"host": "devbox"})
        urllib.request.urlopen(request).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "a.localhost"])
def test_loopback_is_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:4318", 200),
        ("[::1]:4318", 200),
        ("127.0.0.1", 200),
        ("evil.example", 400),
        ("[", 400),
        ("", 400),
    ],
)
def test_pages_of_other_hosts_read_nothing(api, host, status):
    assert api.request("/sessions", headers={"host": host})[0] == status


def test_ingest_and_reads_may_be_concurrent(api):
    def write(trace):
        for number in range(10):
            api.post_json(span(trace, number))

    def read(_):
        for _ in range(10):
            api.sessions()
            for item in api.traces()["items"]:
                api.trace(item["trace_id"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(4)))
        for done in [pool.submit(write, trace) for trace in range(4, 8)] + [
            pool.submit(read, n) for n in range(4)
        ]:
            done.result()
    session = api.session("c-1")
    assert session["trace_count"] == 8
    assert session["total_span_count"] == 8 * 9


def test_storage_failure_asks_the_exporter_to_try_again(tmp_path, api_of, caplog):
    with LocalServer(tmp_path, port=0) as server:
        with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as connection:
            connection.execute("DROP TABLE spans")
            connection.execute("DROP TABLE otel_spans")
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span(0, 0)]}]}]}).encode()
        status, answer, _ = api_of(server).request("/v1/traces", body, {"content-type": "application/json"})
    assert (status, json.loads(answer)["code"]) == (503, 14)
    assert [record.name for record in caplog.records] == ["pandaprobe_otel.local"]


def test_body_over_the_limit_is_refused(tmp_path, api_of, monkeypatch):
    monkeypatch.setattr(server_module, "create_app", partial(create_app, max_body_size=100))
    with LocalServer(tmp_path, port=0) as server:
        for body, encoding in [(b" " * 101, ""), (gzip.compress(b" " * 101), "gzip")]:
            headers = {"content-type": "application/json", "content-encoding": encoding}
            assert api_of(server).request("/v1/traces", body, headers)[0] == 413


SERVE = """
import sys
from pathlib import Path
from pandaprobe_otel.local.server import serve
serve(Path(sys.argv[1]), port=0, on_start=lambda url: print(url, flush=True))
print("stopped")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_a_signal(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/health") as answer:
            assert answer.status == 200
        process.send_signal(number)
        assert process.communicate(timeout=20)[0] == "stopped\n"
        assert process.returncode == 0


WITHOUT_EXTRA = """
import sys
sys.modules[sys.argv[1]] = None
import pandaprobe_otel.local.server
"""


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_missing_extra_is_named(missing):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, missing], capture_output=True, text=True, check=False
    )
    assert "pip install 'pandaprobe-otel[local]'" in run.stderr.splitlines()[-1]
