"""A crew whose agent has a tool; one of the inputs of its kickoffs names the session."""

import os

# CrewAI sends telemetry of its own elsewhere; without these lines it goes on doing so.
os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.crewai import CrewAIAdapter

CrewAIAdapter(session_input="conversation").instrument()


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


meteorologist = Agent(
    role="meteorologist",
    goal="Tell the weather.",
    backstory="Has seen it all.",
    llm=LLM(model="gpt-5.4-nano", base_url=os.environ.get("OPENAI_BASE_URL")),
    tools=[get_weather],
)
task = Task(description="{question}", expected_output="One line.", agent=meteorologist)
crew = Crew(agents=[meteorologist], tasks=[task], name="forecast")

for question in ("What is the weather in Paris?", "What is the capital of France?"):
    answer = crew.kickoff({"question": question, "conversation": "conversation-123"})
    print(f"User: {question}\nBot:  {answer.raw}\n")

pandaprobe.shutdown()
