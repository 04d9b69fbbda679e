"""A chain in a session, and an agent with a tool in another."""

from langchain.agents import create_agent
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.langchain import LangChainCallbackHandler


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


model = ChatOpenAI(model="gpt-5.4-nano")
chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | model | StrOutputParser()
agent = create_agent(model, [get_weather], name="meteorologist")
handler = LangChainCallbackHandler()

with pandaprobe.session("conversation-123"):
    print(chain.invoke({"question": "What is the capital of France?"}, {"callbacks": [handler]}))

with pandaprobe.session("conversation-124"):
    question = {"messages": [("user", "What is the weather in Paris?")]}
    print(agent.invoke(question, {"callbacks": [handler]})["messages"][-1].content)

pandaprobe.shutdown()
