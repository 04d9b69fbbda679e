"""A deep agent that asks a sub-agent; its thread is the session."""

from deepagents import create_deep_agent
from langchain_openai import ChatOpenAI

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.deepagents import DeepAgentsCallbackHandler

geographer = {
    "name": "geographer",
    "description": "Knows countries and their capitals.",
    "system_prompt": "Be brief.",
    "tools": [],
}
agent = create_deep_agent(ChatOpenAI(model="gpt-5.4-nano"), [], subagents=[geographer], name="researcher")
config = {"callbacks": [DeepAgentsCallbackHandler()], "configurable": {"thread_id": "conversation-123"}}

question = {"messages": [("user", "Ask the geographer about France.")]}
print(agent.invoke(question, config)["messages"][-1].content)

pandaprobe.shutdown()
