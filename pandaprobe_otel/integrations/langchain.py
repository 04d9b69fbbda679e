"""`LangChainCallbackHandler`: runs of LangChain become spans of the session that they run in."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..tracing.labels import Id, Labels

try:
    from ._langchain import RunSpans
except ImportError as error:
    raise ImportError(
        "LangChainCallbackHandler needs langchain and OpenTelemetry's instrumentation of it: "
        "pip install 'pandaprobe-otel[langchain]'"
    ) from error


class LangChainCallbackHandler(RunSpans):
    """Traces the runs that it is passed to: chains, agents, model calls, tools and searches, each one span.

        handler = LangChainCallbackHandler()
        chain.invoke({"question": question}, config={"callbacks": [handler]})

    One handler serves any number of runs, also at the same time. A run is traced inside the span that is
    current where it starts. Spans and attributes follow OpenTelemetry's GenAI semantic conventions, with the
    messages on them unless PandaProbe's `capture_content` or OpenTelemetry's
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise.

    Args:
        session_id: The session of all runs. Without it `session()` holds, and then the run's own `thread_id`,
            `session_id` or `conversation_id` (LangGraph's `configurable`, or the run's metadata).
        user_id: The user of all runs.
        tags: Tags of all runs.
        metadata: Names and any values, for all runs.

    Raises:
        TypeError: When an argument has the wrong type.
    """

    def __init__(
        self,
        *,
        session_id: Id | None = None,
        user_id: Id | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata))
