"""What of a span is not to leave: contents, large media, and what the user's function takes out."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from opentelemetry.sdk.trace import Event

from .. import attributes as keys
from ..guard import warn_once
from ..settings.options import Redact
from .mapping.kinds import MARKS, NO_MARKS
from .media import MediaLimit

_logger = logging.getLogger("pandaprobe_otel.export")

_FLAT = (bool, int, float, type(None))
SCORE_REASON = "score.reason"
REDACTION_FAILED = "[redaction failed]"

# Where a span belongs, and what it stands for: without these it would not arrive, or somewhere else.
_PLACE = MARKS | {keys.SESSION_ID, keys.PANDAPROBE_STATUS, *NO_MARKS}

_CONTENTS = frozenset(
    {
        keys.PANDAPROBE_INPUT,
        keys.PANDAPROBE_OUTPUT,
        # GenAI semantic conventions.
        keys.GEN_AI_INPUT_MESSAGES,
        keys.GEN_AI_OUTPUT_MESSAGES,
        keys.GEN_AI_SYSTEM_INSTRUCTIONS,
        keys.GEN_AI_TOOL_CALL_ARGUMENTS,
        keys.GEN_AI_TOOL_CALL_RESULT,
        "gen_ai.tool.definitions",
        "gen_ai.retrieval.query.text",
        "gen_ai.retrieval.documents",
        "gen_ai.prompt",
        "gen_ai.completion",
        # OpenLLMetry.
        keys.TRACELOOP_ENTITY_INPUT,
        keys.TRACELOOP_ENTITY_OUTPUT,
        # OpenInference. The parameters hold tools and instructions too.
        keys.INPUT_VALUE,
        keys.OUTPUT_VALUE,
        keys.LLM_INVOCATION_PARAMETERS,
        "llm.function_call",
        "llm.tools",
        "tool.json_schema",
        "tool.parameters",
        "reranker.query",
        # Pydantic AI.
        "all_messages_events",
        "pydantic_ai.all_messages",
        "final_result",
        "model_request_parameters",
        "tool_arguments",
        "tool_response",
        # Errors quote what they are about, and stack traces end with the error.
        keys.EXCEPTION_MESSAGE,
        keys.EXCEPTION_STACKTRACE,
        keys.OTEL_STATUS_DESCRIPTION,
    }
)
_CONTENT_PREFIXES = (
    # OpenLLMetry.
    keys.GEN_AI_PROMPT_PREFIX,
    keys.GEN_AI_COMPLETION_PREFIX,
    "llm.request.functions.",
    "traceloop.prompt.",
    "db.query.result.",
    # OpenInference.
    keys.LLM_INPUT_MESSAGES_PREFIX,
    keys.LLM_OUTPUT_MESSAGES_PREFIX,
    "llm.prompts",
    "llm.prompt_template.",
    "llm.choices",
    "llm.tools.",
    "retrieval.documents",
    "reranker.input_documents",
    "reranker.output_documents",
    "embedding.embeddings",
)
# Messages, whole or one by one, of instrumentations that put them there.
_CONTENT_EVENTS = "gen_ai."


class Redaction:
    """What is done with everything that spans say, before it is written to disk or sent.

    Args:
        redact: Gets the key and the value of each attribute, after the rest; None takes it out.
        capture_content: Whether contents stay.
        max_media_bytes: The largest image or other media that stays.
    """

    def __init__(
        self, redact: Redact | None = None, capture_content: bool = True, max_media_bytes: int = 2**31
    ) -> None:
        self._redact = redact
        self._captures = capture_content
        self._media = MediaLimit(max_media_bytes)

    def attributes(self, values: Mapping[str, Any] | None) -> dict[str, Any]:
        """The attributes that may leave."""
        if not values:
            return {}
        held = _copied(values)
        if not self._captures:
            held = {key: value for key, value in held.items() if not _is_content(key)}
        longest = self._media.characters
        for key, value in held.items():
            if len(value) > longest if type(value) is str else type(value) not in _FLAT:
                held[key] = self._media.within(value)
        if self._redact is None:
            return held
        redacted = {key: self._redacted(key, value) for key, value in held.items()}
        return {key: value for key, value in redacted.items() if value is not None}

    def status(self, description: str | None) -> Any:
        """What may be said of a failure."""
        if not description:
            return description
        return self.attributes({keys.OTEL_STATUS_DESCRIPTION: description}).get(keys.OTEL_STATUS_DESCRIPTION)

    def events(self, events: Sequence[Event]) -> Sequence[Event]:
        """The events that may leave; their attributes are yet to be looked at."""
        if self._captures:
            return events
        return [event for event in events if not str(event.name).startswith(_CONTENT_EVENTS)]

    def score(self, body: bytes) -> bytes:
        """What may be said of a score, whose body this is."""
        if self._redact is None:
            return body
        said = json.loads(body)
        if said["reason"]:
            said["reason"] = self._redacted(SCORE_REASON, said["reason"])
        said["metadata"] = dict(self.attributes(said["metadata"]))
        return json.dumps(said, default=lambda value: f"<{type(value).__name__}>").encode()

    def _redacted(self, key: str, value: Any) -> Any:
        if self._redact is None or key in _PLACE:
            return value
        try:
            return self._redact(key, value)
        except Exception as error:
            name = type(error).__name__
            message = "the redact function raised %s; what it was given is withheld"
            warn_once(_logger, f"redact {name}", message, name)
            return REDACTION_FAILED


def _is_content(key: str) -> bool:
    return key in _CONTENTS or str(key).startswith(_CONTENT_PREFIXES)


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        # The SDK's mappings iterate in Python, with a lookup for every key; they copy in C.
        copy = cast("dict[str, Any]", values).copy()
    except Exception:
        return dict(values.items())
    return copy if type(copy) is dict else dict(copy.items())
