"""Every example of examples/providers runs, and arrives as one session of three turns."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import bedrock_fake
import in_process
import pytest
import scripted
from aimock import AIMock
from otlp_receiver import Receiver

EXAMPLES = sorted((Path(__file__).parents[2] / "examples/providers").glob("ask_*.py"))
# What each imports; where that is missing, the other set of SDKs has it.
NEEDS = {"bedrock": "boto3", "gemini": "google.genai", "mistral": "mistralai"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_makes_one_session_of_three_turns(example: Path, mock: AIMock) -> None:
    provider = example.stem.removeprefix("ask_")
    # Not by importing it: litellm takes 7 s.
    if find_spec(NEEDS.get(provider, provider)) is None:
        pytest.skip("it is tested with the other set of SDKs")
    with Receiver() as receiver, bedrock_fake.running() as bedrock, scripted.running() as gemini:
        # The SDK's own default is v1, of which aimock knows nothing.
        gemini.answers({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello."}]}}]})
        keys = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "MISTRAL_API_KEY")
        environment = {
            **in_process.clean_environment(),
            **dict.fromkeys((*keys, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "none"),
            "PANDAPROBE_ENDPOINT": receiver.url,
            "OPENAI_BASE_URL": f"{mock.url}/v1",
            "ANTHROPIC_BASE_URL": mock.url,
            "GOOGLE_GEMINI_BASE_URL": gemini.url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "MISTRAL_SERVER_URL": mock.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        process = subprocess.run(
            [sys.executable, str(example)], env=environment, capture_output=True, text=True, check=False
        )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("Bot:  Hello") == 3
    session_id = process.stdout.split()[-1]
    made = receiver.spans
    operation = "generate_content" if provider == "gemini" else "chat"
    assert [span.name.split()[0] for span in made] == [operation] * 3
    sessions = [
        item.value.string_value for span in made for item in span.attributes if item.key == "session.id"
    ]
    assert sessions == [session_id] * 3
