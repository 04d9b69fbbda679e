"""ADK under `opentelemetry-instrument`, in a program without a word about telemetry."""

import in_process
import pytest
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

CHAT = """
import asyncio, warnings
warnings.simplefilter("default")
from google.adk.agents import Agent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types

class StandIn(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text="Hi.")]))

async def main():
    runner = InMemoryRunner(Agent(name="greeter", model=StandIn(model="stand-in")), app_name="app")
    message = types.Content(role="user", parts=[types.Part(text="hello")])
    for id in ("thread-1", "thread-2"):
        await runner.session_service.create_session(app_name="app", user_id="u", session_id=id)
        async for _ in runner.run_async(user_id="u", session_id=id, new_message=message):
            pass

asyncio.run(main())
"""


@pytest.mark.scenario("no code", of="Google ADK")
def test_spans_are_of_the_session_of_adk() -> None:
    with Receiver() as receiver:
        in_process.run(CHAT, under=INSTRUMENT, PANDAPROBE_ENDPOINT=receiver.url)
    found = sorted((str(attributes_of(span).get("session.id")), span.name) for span in receiver.spans)
    run = ["generate_content stand-in", "invoke_agent greeter", "invoke_workflow greeter"]
    assert found == [(id, name) for id in ("thread-1", "thread-2") for name in run]
    assert all("hello" in str(attributes_of(span)) for span in receiver.spans if span.name == run[0])


def test_adapter_that_is_disabled_by_its_name_leaves_adks_spans_as_they_are() -> None:
    with Receiver() as receiver:
        disabled = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "pandaprobe_google_adk"}
        in_process.run(CHAT, under=INSTRUMENT, PANDAPROBE_ENDPOINT=receiver.url, **disabled)
    assert len(receiver.spans) == 6
    assert {attributes_of(span).get("session.id") for span in receiver.spans} == {None}


def test_program_without_the_framework_does_not_import_it() -> None:
    ended = in_process.run(
        "tell(imported='google.adk' in sys.modules)",
        under=INSTRUMENT,
        PANDAPROBE_ENDPOINT="http://127.0.0.1:1",
    )
    assert ended.told == {"imported": False}
