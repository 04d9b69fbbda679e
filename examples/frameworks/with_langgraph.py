"""A graph that remembers; each of its threads is a session."""

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.langgraph import LangGraphCallbackHandler

model = ChatOpenAI(model="gpt-5.4-nano")


def answer(state: MessagesState) -> dict[str, list[object]]:
    return {"messages": [model.invoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile(InMemorySaver())
config = {"callbacks": [LangGraphCallbackHandler()], "configurable": {"thread_id": "conversation-123"}}

for question in ("What is the capital of France?", "What about Germany?"):
    messages = graph.invoke({"messages": [("user", question)]}, config)["messages"]
    print(f"User: {question}\nBot:  {messages[-1].content}\n")

pandaprobe.shutdown()
