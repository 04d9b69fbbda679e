"""CrewAI under `opentelemetry-instrument`, in a program without a word about telemetry."""

import in_process
import pytest
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

from ..conftest import Models

CHAT = """
import warnings
warnings.simplefilter("default")
import os
from crewai import LLM, Agent, Crew, Task

llm = LLM(model="gpt-4o", base_url=os.environ["OPENAI_BASE_URL"], api_key="none")
agent = Agent(role="greeter", goal="Greet.", backstory="Kind.", llm=llm)
Crew(agents=[agent], tasks=[Task(description="hello", expected_output="A line.", agent=agent)]).kickoff()
"""


@pytest.mark.scenario("no code", of="CrewAI")
def test_crew_is_one_tree_in_the_session_of_its_process(models: Models) -> None:
    with Receiver() as receiver:
        environment = {
            "PANDAPROBE_ENDPOINT": receiver.url,
            "OPENAI_BASE_URL": models.openai,
            "BAGGAGE": "session.id=from-outside",
        }
        in_process.run(CHAT, under=INSTRUMENT, **environment)
    found = sorted((str(attributes_of(span).get("session.id")), span.name) for span in receiver.spans)
    names = ["chat gpt-4o", "invoke_agent greeter", "invoke_workflow crew", "task"]
    assert found == [("from-outside", name) for name in names]
    assert len({attributes_of(span).get("pandaprobe.trace.id") for span in receiver.spans}) == 1


def test_adapter_that_is_disabled_by_its_name_stays_off(models: Models) -> None:
    with Receiver() as receiver:
        environment = {"PANDAPROBE_ENDPOINT": receiver.url, "OPENAI_BASE_URL": models.openai}
        disabled = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai, pandaprobe_crewai"}
        in_process.run(CHAT, under=INSTRUMENT, **environment, **disabled)
    assert receiver.spans == []


def test_program_without_the_framework_does_not_import_it() -> None:
    ended = in_process.run(
        "tell(imported='crewai' in sys.modules)", under=INSTRUMENT, PANDAPROBE_ENDPOINT="http://127.0.0.1:1"
    )
    assert ended.told == {"imported": False}
