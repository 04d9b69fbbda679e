"""Agents under `opentelemetry-instrument`, in programs without a word about telemetry."""

from pathlib import Path

import in_process
import pytest
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

from ..conftest import Models, arrived

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


HAND_OFF = """
import asyncio, sys, openai
from agents import Agent, GuardrailFunctionOutput, OpenAIResponsesModel, RunConfig, Runner, input_guardrail
from agents import SQLiteSession

if "by hand" in sys.argv:
    import pandaprobe_otel
    from pandaprobe_otel.integrations.openai_agents import OpenAIAgentsAdapter
    pandaprobe_otel.init()
    OpenAIAgentsAdapter().instrument()

@input_guardrail
def no_evil(context, agent, question):
    return GuardrailFunctionOutput(None, tripwire_triggered=False)

async def main():
    model = OpenAIResponsesModel("gpt-4o", openai.AsyncOpenAI(api_key="none"))
    billing = Agent("billing", model=model)
    desk = Agent("desk", model=model, handoffs=[billing], input_guardrails=[no_evil])
    memory = SQLiteSession("memory-1")
    await Runner.run(desk, "I have a bill", session=memory)
    memory.close()

asyncio.run(main())
"""


@pytest.mark.scenario("no code", of="OpenAI Agents SDK")
def test_tree_is_that_of_the_adapter(models: Models) -> None:
    told = {}
    for how, under in (("no code", INSTRUMENT), ("by hand", ())):
        with Receiver() as receiver:
            environment = {"PANDAPROBE_ENDPOINT": receiver.url, "OPENAI_BASE_URL": models.openai}
            program = f"import sys; sys.argv.append({how!r})\n{HAND_OFF}"
            in_process.run(program, under=under, seconds=110, **environment)
        told[how] = arrived(receiver.spans)
    assert told["no code"] == told["by hand"]
    names = {line.strip().removesuffix(" of memory-1") for line in told["no code"]}
    assert names == {
        *("invoke_workflow Agent workflow", "invoke_agent desk", "invoke_agent billing"),
        *("chat gpt-4o", "guardrail no_evil", "handoff to billing"),
    }


CLAUDE = """
import asyncio, os
from claude_agent_sdk import ClaudeAgentOptions, query

async def main():
    async for _ in query(prompt="hello", options=ClaudeAgentOptions(cli_path=os.environ["CLI"])):
        pass

asyncio.run(main())
"""


CLI = {"CLI": str(Path(__file__).with_name("claude_cli.py"))}


def test_adapters_that_are_disabled_by_their_names_stay_off(models: Models) -> None:
    with Receiver() as receiver:
        environment = {"PANDAPROBE_ENDPOINT": receiver.url, "OPENAI_BASE_URL": models.openai, **CLI}
        in_process.run(
            HAND_OFF + CLAUDE,
            under=INSTRUMENT,
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="pandaprobe_openai_agents,pandaprobe_claude_agent_sdk",
            **environment,
        )
    names = {line.strip() for line in arrived(receiver.spans)}
    # The official one's: without hand-offs, guardrails and the memory's id.
    run = ("invoke_workflow Agent workflow", "invoke_agent desk", "invoke_agent billing", "chat gpt-4o")
    assert names == {f"{name} of None" for name in run}


@pytest.mark.scenario("no code", of="Claude Agent SDK")
def test_turn_of_claude_code_is_in_its_session() -> None:
    with Receiver() as receiver:
        in_process.run(CLAUDE, under=INSTRUMENT, PANDAPROBE_ENDPOINT=receiver.url, **CLI)
    assert sorted(span.name for span in receiver.spans) == ["chat claude-sonnet-5", "invoke_agent claude"]
    (session_id,) = {attributes_of(span).get("session.id") for span in receiver.spans}
    (conversation,) = {attributes_of(span).get("gen_ai.conversation.id") for span in receiver.spans} - {None}
    assert session_id == conversation


def test_program_without_the_sdk_does_not_import_it() -> None:
    ended = in_process.run(
        "tell(imported='claude_agent_sdk' in sys.modules)",
        under=INSTRUMENT,
        PANDAPROBE_ENDPOINT="http://127.0.0.1:1",
    )
    assert ended.told == {"imported": False}
