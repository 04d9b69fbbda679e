"""aimock, a mock of model providers that is not ours, so that it judges what is sent.

`@copilotkit/aimock` from npm.
"""

import json
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import node

VERSION = "1.43.0"


@dataclass
class AIMock:
    """A server on loopback.

    Args:
        url: Where it listens; OpenAI's API is below `/v1`, Gemini's below `/v1beta`.
    """

    url: str

    def requests(self) -> list[dict[str, Any]]:
        """What was asked so far: `method`, `path`, `headers`, `body`, and what was answered."""
        with urllib.request.urlopen(f"{self.url}/__aimock/journal") as answer:
            return json.load(answer)


@contextmanager
def running(fixtures: list[dict[str, Any]]) -> Iterator[AIMock]:
    """A server with these answers, as `{"match": {"userMessage": …}, "response": {"content": …}}`."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        answers = Path(folder, "fixtures.json")
        answers.write_text(json.dumps({"fixtures": fixtures}))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        program = [node.node(), str(_program()), "-p", str(port), "-f", str(answers), "--log-level", "silent"]
        process = subprocess.Popen(program, cwd=folder)
        try:
            _wait(process, f"http://127.0.0.1:{port}")
            yield AIMock(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    while True:
        assert process.poll() is None, "aimock ended as it started"
        try:
            urllib.request.urlopen(f"{url}/health").close()
        except OSError:
            time.sleep(0.02)
        else:
            return


def _program() -> Path:
    package = node.installed(f"aimock-{VERSION}", f"@copilotkit/aimock@{VERSION}") / "@copilotkit/aimock"
    (program,) = {json.loads((package / "package.json").read_text())["bin"]["llmock"]}
    return package / program
