"""`LangGraphCallbackHandler`: runs of graphs become spans of the session that their thread is."""

try:
    from langgraph.callbacks import GraphCallbackHandler

    from .langchain import LangChainCallbackHandler
except ImportError as error:
    raise ImportError(
        "LangGraphCallbackHandler needs langgraph and OpenTelemetry's instrumentation of LangChain: "
        "pip install 'pandaprobe-otel[langgraph]'"
    ) from error


class LangGraphCallbackHandler(LangChainCallbackHandler, GraphCallbackHandler):
    """Traces the graphs that it is passed to: nodes, agents, model calls, tools and searches, each one span.

        handler = LangGraphCallbackHandler()
        config = {"callbacks": [handler], "configurable": {"thread_id": "conversation-123"}}
        graph.invoke({"messages": [("user", question)]}, config)

    The thread is the session, unless `session_id` or a `session()` block names another. A graph that stops
    for a human (`interrupt`) ends its run with the question as its output, and the run that resumes it begins
    with the answer. Everything else is as for `LangChainCallbackHandler`.
    """
