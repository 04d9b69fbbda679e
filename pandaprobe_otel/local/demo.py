"""The demo: a program that knows nothing of this package's insides, and what arrived of its session.

A local PandaProbe and a stand-in for the OpenAI API run here; the example of the documentation runs as a
process of its own, and the session is read back over HTTP.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from .fake_openai import FakeOpenAI

# Beside this module in the wheel; where it is kept in a checkout.
_EXAMPLES = (
    Path(__file__).with_name("multi_turn.py"),
    Path(__file__).parents[2] / "examples" / "multi_turn.py",
)
_INSTALL = "pip install 'pandaprobe-otel[local,openai]'"
# Three answers of a model that thinks take seconds, not minutes.
_EXAMPLE_SECONDS = 120
_READ_SECONDS = 10


class DemoError(Exception):
    """The demo did not work; the message says what to do."""


def run(say: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Runs the example, whose output goes to this process's own, and returns its session.

    Args:
        say: Is told what happens.
        environ: With `OPENAI_API_KEY` in it, the example talks to the real API.

    Returns:
        What PandaProbe answers to `GET /sessions/{session_id}`.

    Raises:
        DemoError: A package is missing, the example failed, or its session did not arrive.
    """
    if importlib.util.find_spec("openai") is None:
        raise DemoError(f"The demo needs the openai package: {_INSTALL}")
    try:
        from .server import LocalServer
    except ImportError as error:
        raise DemoError(f"The demo needs the local PandaProbe: {_INSTALL}") from error
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pandaprobe-demo-")))
        server = stack.enter_context(LocalServer(folder / "local", port=0))
        say(f"Local PandaProbe: {server.url}")
        openai = _openai(stack, environ, say)
        ours = {"PANDAPROBE_ENDPOINT": server.url, "PANDAPROBE_SPOOL_DIR": str(folder / "spool")}
        _run_example(folder, {**_without_settings(environ), **openai, **ours})
        return _read_session(server.url)


def _openai(stack: ExitStack, environ: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    if environ.get("OPENAI_API_KEY"):
        where = environ.get("OPENAI_BASE_URL") or "api.openai.com"
        say(f"OpenAI API:       {where}, with your OPENAI_API_KEY\n")
        return {}
    # Long enough to be seen in the tree.
    fake = stack.enter_context(FakeOpenAI(latency=0.2))
    say(f"OpenAI API:       {fake.base_url}, a stand-in; set OPENAI_API_KEY for the real one\n")
    return {"OPENAI_BASE_URL": fake.base_url, "OPENAI_API_KEY": "none"}


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would send the demo's spans elsewhere, or nowhere."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("PANDAPROBE_", "OTEL_"))}
    # A model may answer in letters that this terminal has not.
    encoding = environ.get("PYTHONIOENCODING", "").partition(":")[0]
    no_proxy = ",".join(filter(None, (environ.get("NO_PROXY"), "127.0.0.1")))
    return {**kept, "PYTHONIOENCODING": f"{encoding}:replace", "NO_PROXY": no_proxy}


def _run_example(folder: Path, environ: Mapping[str, str]) -> None:
    example = next((path for path in _EXAMPLES if path.is_file()), None)
    if example is None:
        raise DemoError(
            "The example multi_turn.py is missing from this installation; install the package again"
        )
    # Python imports from a script's own folder first, and beside this module stand names such as `server`.
    script = shutil.copy(example, folder)
    try:
        code = subprocess.run(
            [sys.executable, script], env=environ, timeout=_EXAMPLE_SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"The example did not end within {_EXAMPLE_SECONDS} seconds") from error
    if code:
        raise DemoError(f"The example ended with exit status {code}; its own message stands above")


def _read_session(url: str) -> dict[str, Any]:
    sessions = _get(f"{url}/sessions")["items"]
    if not sessions:
        raise DemoError(
            f"The example ran, but no session arrived at {url}; PANDAPROBE_DEBUG=true may say why"
        )
    return _get(f"{url}/sessions/{quote(sessions[0]['session_id'], safe='')}")


def _get(url: str) -> dict[str, Any]:
    try:
        # Loopback is never behind a proxy, whatever `http_proxy` says.
        with build_opener(ProxyHandler({})).open(url, timeout=_READ_SECONDS) as answer:
            return json.load(answer)
    except OSError as error:
        raise DemoError(f"The session could not be read back from {url}: {error}") from error
