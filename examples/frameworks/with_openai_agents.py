"""An agent of the OpenAI Agents SDK with a tool; its memory is the session."""

import asyncio

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_trace_processors,
)
from openai import AsyncOpenAI

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.openai_agents import OpenAIAgentsAdapter

# The SDK sends its own traces to OpenAI; without this line it goes on doing so.
set_trace_processors([])
OpenAIAgentsAdapter().instrument()


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


async def main() -> None:
    model = OpenAIChatCompletionsModel("gpt-5.4-nano", AsyncOpenAI())
    agent = Agent("meteorologist", model=model, tools=[get_weather])
    memory = SQLiteSession("conversation-123")
    for question in ("What is the weather in Paris?", "What is the capital of France?"):
        result = await Runner.run(agent, question, session=memory)
        print(f"User: {question}\nBot:  {result.final_output}\n")


asyncio.run(main())
pandaprobe.shutdown()
