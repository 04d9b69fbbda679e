"""The conversation that GenAI instrumentations keep in the context: a framework's own name for a session."""

import sys
from typing import Any

from opentelemetry.context import Context, get_current

# Not documented: module and name of the key of OpenTelemetry's context; a test resolves them.
MODULE = "opentelemetry.util.genai._conversation_context"
KEY = "CONVERSATION_ID_KEY"


def conversation_in(context: Context | None) -> str | None:
    """The id of the conversation in a context, such as a `thread_id` of LangGraph."""
    # Nobody has put one into a context before the module is imported.
    key: Any = getattr(sys.modules.get(MODULE), KEY, None)
    id = None if key is None else (get_current() if context is None else context).get(key)
    return id if isinstance(id, str) and id else None
