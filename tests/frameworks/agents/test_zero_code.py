"""Agents under `opentelemetry-instrument`, in programs without a word about telemetry."""

import in_process
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

from ..conftest import Models

CHAT = """
import asyncio, openai
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner

async def main():
    # Not from the environment: with a key there, the SDK would send its own traces to OpenAI.
    agent = Agent("desk", model=OpenAIResponsesModel("gpt-4o", openai.AsyncOpenAI(api_key="none")))
    for id in ("group-1", "group-2"):
        await Runner.run(agent, "hello", run_config=RunConfig(group_id=id))

asyncio.run(main())
"""


def test_spans_are_of_the_session_of_their_group(models: Models) -> None:
    with Receiver() as receiver:
        environment = {"PANDAPROBE_ENDPOINT": receiver.url, "OPENAI_BASE_URL": models.openai}
        in_process.run(CHAT, under=INSTRUMENT, seconds=110, **environment)
    found = sorted((str(attributes_of(span).get("session.id")), span.name) for span in receiver.spans)
    run = ["chat gpt-4o", "invoke_agent desk", "invoke_workflow Agent workflow"]
    assert found == [(id, name) for id in ("group-1", "group-2") for name in run]
