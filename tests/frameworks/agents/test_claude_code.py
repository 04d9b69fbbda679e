"""`ClaudeAgentSDKAdapter` with Claude Code itself, as the SDK brings it, and a mock of its model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aimock
import node
import pytest

FRAMEWORK = "Claude Agent SDK"

TESTS = Path(__file__).parents[2]
LOOPBACK_ONLY = ["unshare", "-rn", "bash", "-c", 'ip link set lo up && exec "$@"', "-"]

PROGRAM = """
import asyncio, json, os, sys, threading, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import aimock
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage, create_sdk_mcp_server, tool
from pandaprobe_otel.integrations.claude_agent_sdk import ClaudeAgentSDKAdapter
from pandaprobe_otel.testing import capture
from span_tree import tree

class AsAnthropic(BaseHTTPRequestHandler):
    # The mock tells all tokens as an answer begins; Anthropic's API tells of one, and of all as it ends.
    def log_message(self, *args): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = urllib.request.Request(mock.url + self.path, body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            lines = answer.read().decode().split("\\n")
        for number, line in enumerate(lines):
            if '"message_start"' in line:
                event = json.loads(line.removeprefix("data:"))
                event["message"]["usage"]["output_tokens"] = 1
                lines[number] = "data: " + json.dumps(event)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write("\\n".join(lines).encode())

def answer(question, is_second, response, read, written):
    usage = {"input_tokens": read, "output_tokens": written}
    match = {"userMessage": question, "hasToolResult": is_second}
    return {"match": match, "response": {**response, "usage": usage}}

shell = {"name": "Bash", "id": "toolu_1", "arguments": json.dumps({"command": "echo from-the-shell"})}
weather = {"name": "mcp__weather__get_weather", "id": "toolu_2", "arguments": "{}"}
answers = [
    answer("the weather", False, {"toolCalls": [weather]}, 50, 7),
    answer("the weather", True, {"content": "It is sunny."}, 64, 16),
    answer("use the shell", False, {"toolCalls": [shell]}, 50, 7),
    answer("use the shell", True, {"content": "It said from-the-shell."}, 64, 16),
]

@tool("get_weather", "The weather.", {})
async def get_weather(given):
    captured.tracer_provider.get_tracer("user").start_span("lookup").end()
    return {"content": [{"type": "text", "text": "sunny"}]}

async def main(url, home):
    environment = {
        "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none", "HOME": home, "CLAUDE_CONFIG_DIR": home,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1",
    }
    options = ClaudeAgentOptions(
        env=environment, cwd=home, model="claude-sonnet-4-5",
        allowed_tools=["Bash", "mcp__weather__get_weather"],
        mcp_servers={"weather": create_sdk_mcp_server("weather", tools=[get_weather])},
        include_partial_messages="streamed" in sys.argv,
    )
    results = []
    async with ClaudeSDKClient(options) as client:
        for question in ("use the shell", "the weather"):
            await client.query(question)
            results += [m async for m in client.receive_response() if isinstance(m, ResultMessage)]
    return results

def served():
    usages = [asked["response"]["fixture"]["response"]["usage"] for asked in mock.requests()]
    return [sum(usage[key] for usage in usages) for key in ("input_tokens", "output_tokens")]

with aimock.running(answers) as mock, capture() as captured, ClaudeAgentSDKAdapter():
    server = ThreadingHTTPServer(("127.0.0.1", 0), AsAnthropic)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    results = asyncio.run(main(f"http://127.0.0.1:{server.server_port}", sys.argv[1]))
    (session,) = {result.session_id for result in results}
    spans = [
        {"name": span.name, **{key: span.attributes[key] for key in span.attributes}}
        for span in sorted(captured.spans, key=lambda span: span.start_time)
    ]
    told = {"session": session, "tree": tree(captured.spans), "spans": spans, "served": served()}
    print("told " + json.dumps(told))
    server.shutdown()
"""


def _ask(home: Path, *arguments: str) -> Any:
    ended = subprocess.run(
        [*LOOPBACK_ONLY, sys.executable, "-c", PROGRAM, str(home), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "XDG_CACHE_HOME": str(node.CACHE.parent),
            "IS_SANDBOX": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (told,) = [line for line in ended.stdout.splitlines() if line.startswith("told ")]
    return json.loads(told.removeprefix("told "))


@pytest.fixture(autouse=True)
def _has_a_network_of_its_own() -> None:
    """Claude Code has other hosts to ask than its model's."""
    try:
        subprocess.run([*LOOPBACK_ONLY, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network of its own can be made here for Claude Code: {error}")
    # Installed out here: in there is no npm.
    with aimock.running([]):
        pass


@pytest.mark.parametrize("arguments", [(), ("streamed",)], ids=["whole", "streamed"])
@pytest.mark.scenario("tool", "stream")
def test_turns_of_a_client_are_trees_of_its_session_with_the_tokens_that_were_served(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    told = _ask(tmp_path, *arguments)
    call, weather = "  chat claude-sonnet-4-5", "  execute_tool mcp__weather__get_weather"
    # What a tool of the program does is inside its span.
    assert told["tree"] == [
        *("invoke_agent claude", call, "  execute_tool Bash", call),
        *("invoke_agent claude", call, weather, "    lookup", call),
    ]
    assert {span["session.id"] for span in told["spans"]} == {told["session"]}
    tool = told["spans"][2]
    assert json.loads(tool["gen_ai.tool.call.arguments"])["command"] == "echo from-the-shell"
    assert tool["gen_ai.tool.call.result"] == "from-the-shell"
    calls = [span for span in told["spans"] if span["name"] == call.strip()]
    read, written = ([each[f"gen_ai.usage.{way}_tokens"] for each in calls] for way in ("input", "output"))
    assert [sum(read), sum(written)] == told["served"]
    assert read == [50, 64] * 2
    # Streamed, each call is told of; else only what all of a turn have written.
    assert written == ([7, 16] if arguments else [1, 22]) * 2
