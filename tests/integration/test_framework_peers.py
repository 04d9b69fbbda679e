"""Agents with Traceloop's and OpenInference's instrumentations beside ours, all in one process.

CrewAI's peers are not tried: its environment is 787 MB.
"""

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aimock
import pytest
from environments import install, python_of
from in_process import clean_environment
from otlp_receiver import Receiver, attributes_of

pytestmark = pytest.mark.integration

PEERS = [
    f"{vendor}-instrumentation-{framework}"
    for vendor in ("opentelemetry", "openinference")
    for framework in ("langchain", "openai-agents")
]

LANGCHAIN = """
import pandaprobe_otel as pandaprobe
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.langchain import LangchainInstrumentor
from pandaprobe_otel.integrations.langgraph import LangGraphCallbackHandler

pandaprobe.init()
LangChainInstrumentor().instrument()
LangchainInstrumentor().instrument()

def get_weather(city: str) -> str:
    "The weather in a city."
    return f"sunny in {city}"

agent = create_agent(ChatOpenAI(model="gpt-4o", max_retries=0), [get_weather], name="desk")
with pandaprobe.session("conversation-1"):
    agent.invoke({"messages": [("user", "weather")]}, {"callbacks": [LangGraphCallbackHandler()]})
pandaprobe.shutdown()
"""
AGENTS = """
import asyncio, openai
import pandaprobe_otel as pandaprobe
from agents import Agent, OpenAIResponsesModel, Runner, function_tool
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor as OpenInference
from opentelemetry.instrumentation.openai_agents import OpenAIAgentsInstrumentor as Traceloop
from pandaprobe_otel.integrations.openai_agents import OpenAIAgentsAdapter

pandaprobe.init()
# It takes out whoever listens to the SDK, OpenAI's own exporter included.
OpenInference().instrument()
Traceloop().instrument()
OpenAIAgentsAdapter().instrument()

@function_tool
def get_weather(city: str) -> str:
    "The weather in a city."
    return f"sunny in {city}"

async def main():
    async with openai.AsyncOpenAI() as client:
        agent = Agent("desk", model=OpenAIResponsesModel("gpt-4o", client), tools=[get_weather])
        with pandaprobe.session("conversation-1"):
            await Runner.run(agent, "weather")

asyncio.run(main())
pandaprobe.shutdown()
"""


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = tmp_path_factory.mktemp("peers") / "env"
    install(environment, f"{wheel}[langgraph,openai-agents]", "langchain", "langchain-openai", *PEERS)
    return python_of(environment)


@pytest.fixture(scope="module")
def model() -> Iterator[aimock.AIMock]:
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "input_tokens": 12, "output_tokens": 3}
    call = {"name": "get_weather", "arguments": '{"city":"Paris"}', "id": "call_1"}
    answers: Any = [
        {"match": {"hasToolResult": False}, "response": {"toolCalls": [call], "usage": usage}},
        {"match": {"hasToolResult": True}, "response": {"content": "Sunny.", "usage": usage}},
    ]
    with aimock.running(answers) as running:
        yield running


@pytest.mark.parametrize(
    ("program", "run"),
    [
        (LANGCHAIN, ["invoke_agent desk"]),
        (AGENTS, ["invoke_workflow Agent workflow", "invoke_agent desk"]),
    ],
    ids=["langchain", "openai-agents"],
)
def test_peers_leave_ours_once_and_theirs_are_in_its_session(
    program: str, run: list[str], python: Path, model: aimock.AIMock
) -> None:
    with Receiver() as receiver:
        openai = {"OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none"}
        ended = subprocess.run(
            [str(python), "-c", program],
            env={**clean_environment(), **openai, "PANDAPROBE_ENDPOINT": receiver.url},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, list[Any]] = defaultdict(list)
    for request in receiver.requests:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                told[scope.scope.name.partition(".")[0]] += scope.spans
    ours = sorted(told.pop("pandaprobe_otel"), key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in ours] == [
        *run,
        "chat gpt-4o",
        "execute_tool get_weather",
        "chat gpt-4o",
    ]
    assert sum(attributes_of(span).get("gen_ai.usage.input_tokens", 0) for span in ours) == 24
    assert set(told) == {"opentelemetry", "openinference"}
    for spans in (ours, *told.values()):
        assert {attributes_of(span).get("session.id") for span in spans} == {"conversation-1"}
    # Their model calls come besides, as docs/frameworks.md says.
    for spans, key in zip(
        (told["opentelemetry"], told["openinference"]),
        ("gen_ai.usage.input_tokens", "llm.token_count.prompt"),
        strict=True,
    ):
        assert sum(attributes_of(span).get(key, 0) for span in spans) == 24
