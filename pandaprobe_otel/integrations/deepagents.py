"""`DeepAgentsCallbackHandler`: runs of deep agents become spans of the session that their thread is."""

from importlib.util import find_spec

if find_spec("deepagents") is None:
    raise ImportError(
        "DeepAgentsCallbackHandler needs deepagents and OpenTelemetry's instrumentation of LangChain: "
        "pip install 'pandaprobe-otel[deepagents]'"
    )

from .langgraph import LangGraphCallbackHandler


class DeepAgentsCallbackHandler(LangGraphCallbackHandler):
    """Traces the deep agents that it is passed to: sub-agents, model calls and tools, each one span.

        handler = DeepAgentsCallbackHandler()
        config = {"callbacks": [handler], "configurable": {"thread_id": "conversation-123"}}
        create_deep_agent(model, tools, name="researcher").invoke({"messages": [("user", question)]}, config)

    Everything is as for `LangGraphCallbackHandler`, which deep agents are built with.
    """
