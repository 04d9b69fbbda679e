"""Programs without a word of telemetry, under `opentelemetry-instrument`."""

import json
import subprocess
import sys
from importlib.util import find_spec

import in_process
import pytest
import scripted
from otlp_receiver import Receiver

MESSAGE = {"role": "assistant", "content": "Paris."}
CHOICE = {"index": 0, "finish_reason": "stop", "message": MESSAGE}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [CHOICE],
    "usage": USAGE,
}
CANDIDATE = {"content": {"role": "model", "parts": [{"text": "Paris."}]}, "finishReason": "STOP", "index": 0}
PROGRAMS = {
    "mistral": (
        "mistralai",
        """
        try:
            from mistralai.client import Mistral
        except ImportError:
            from mistralai import Mistral
        with Mistral(api_key="none", server_url=URL) as client:
            client.chat.complete(model="m", messages=[{"role": "user", "content": "Hello."}])
        """,
        "chat m",
    ),
    "gemini": (
        "google.genai",
        """
        from google import genai
        client = genai.Client(api_key="none", http_options={"base_url": URL})
        client.models.generate_content(model="m", contents="Hello.")
        """,
        "generate_content m",
    ),
    "litellm": (
        "litellm",
        """
        from litellm import completion
        messages = [{"role": "user", "content": "Hello."}]
        completion(model="openai/m", messages=messages, api_base=URL, api_key="none")
        """,
        "chat openai/m",
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", PROGRAMS)
def test_a_program_is_traced_by_the_entry_point(provider: str) -> None:
    package, program, name = PROGRAMS[provider]
    # Not by importing it: litellm takes 7 s.
    if find_spec(package) is None:
        pytest.skip("it is tested with the other set of SDKs")
    with Receiver() as receiver, scripted.running() as api:
        api.answers({**CHAT, "candidates": [CANDIDATE]})
        code = "\n".join(line.removeprefix(" " * 8) for line in program.splitlines())
        process = subprocess.run(
            [*in_process.INSTRUMENT, sys.executable, "-c", code.replace("URL", json.dumps(api.url))],
            env={
                **in_process.clean_environment(),
                "PANDAPROBE_ENDPOINT": receiver.url,
                "BAGGAGE": "session.id=outside",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stderr
    made = [span for span in receiver.spans if span.name == name]
    assert len(made) == 1
    assert "outside" in [item.value.string_value for item in made[0].attributes if item.key == "session.id"]
