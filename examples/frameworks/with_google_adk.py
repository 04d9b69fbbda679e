"""An agent of Google's ADK with a tool; ADK's session is the session."""

import asyncio
from collections.abc import AsyncGenerator

from google.adk.agents import Agent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.google_adk import GoogleADKAdapter

GoogleADKAdapter().instrument()


class StandIn(BaseLlm):
    """In place of a model of an account: calls the tool once, and says what it gave."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        last = llm_request.contents[-1].parts[-1]
        if last.function_response:
            said = types.Part(text=last.function_response.response["result"])
        elif "weather" in (last.text or ""):
            said = types.Part.from_function_call(name="get_weather", args={"city": "Paris"})
        else:
            said = types.Part(text="The capital of France is Paris.")
        usage = types.GenerateContentResponseUsageMetadata(prompt_token_count=20, candidates_token_count=9)
        yield LlmResponse(content=types.Content(role="model", parts=[said]), usage_metadata=usage)


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


async def main() -> None:
    agent = Agent(name="meteorologist", model=StandIn(model="stand-in"), tools=[get_weather])
    runner = InMemoryRunner(agent, app_name="weather")
    ids = {"user_id": "user-42", "session_id": "conversation-123"}
    await runner.session_service.create_session(app_name="weather", **ids)
    for question in ("What is the weather in Paris?", "What is the capital of France?"):
        message = types.Content(role="user", parts=[types.Part(text=question)])
        async for event in runner.run_async(**ids, new_message=message):
            if event.is_final_response():
                print(f"User: {question}\nBot:  {event.content.parts[0].text}\n")


asyncio.run(main())
pandaprobe.shutdown()
