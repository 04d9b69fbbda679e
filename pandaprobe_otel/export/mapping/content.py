"""What went into a span and what came out of it, whichever convention says so."""

from collections.abc import Callable, Sequence
from typing import Any

from ... import attributes as keys
from .messages import Conversation, chat_messages, conversation, flat_messages, system_message
from .reader import AttributeReader, parsed, structured

# How the keys of a convention begin, as `AttributeReader.keys` has them, and what takes what they hold.
_Convention = tuple[str, Callable[[AttributeReader], Any]]


def _value(key: str, read: Callable[[Any], Any]) -> _Convention:
    return f"\n{key}", lambda reader: read(reader.take(key))


def _messages(key: str) -> _Convention:
    return _value(key, lambda value: conversation(structured(value)))


def _flat(prefix: str, default_role: str) -> _Convention:
    def take(reader: AttributeReader) -> Any:
        messages = flat_messages(reader.take_prefixed(prefix), default_role)
        return Conversation(messages=messages) if messages else None

    return f"\n{prefix}", take


def _typed(prefix: str, key: str, type_key: str) -> _Convention:
    def take(reader: AttributeReader) -> Any:
        read = parsed if reader.take(type_key) == "application/json" else structured
        return read(reader.take(key))

    return f"\n{prefix}", take


# The first that says something holds.
_INPUTS = (
    _value(keys.PANDAPROBE_INPUT, parsed),
    _messages(keys.GEN_AI_INPUT_MESSAGES),
    _value(keys.GEN_AI_TOOL_CALL_ARGUMENTS, structured),
    _flat(keys.GEN_AI_PROMPT_PREFIX, "user"),
    _flat(keys.LLM_INPUT_MESSAGES_PREFIX, "user"),
    _typed("input.", keys.INPUT_VALUE, keys.INPUT_MIME_TYPE),
    _value(keys.TRACELOOP_ENTITY_INPUT, structured),
)
_OUTPUTS = (
    _value(keys.PANDAPROBE_OUTPUT, parsed),
    _messages(keys.GEN_AI_OUTPUT_MESSAGES),
    _value(keys.GEN_AI_TOOL_CALL_RESULT, structured),
    _flat(keys.GEN_AI_COMPLETION_PREFIX, "assistant"),
    _flat(keys.LLM_OUTPUT_MESSAGES_PREFIX, "assistant"),
    _typed("output.", keys.OUTPUT_VALUE, keys.OUTPUT_MIME_TYPE),
    _value(keys.TRACELOOP_ENTITY_OUTPUT, structured),
)


def take_input(reader: AttributeReader) -> Any:
    """The input of a span: the first that a convention gives, messages as `{"messages": [...]}`."""
    value = _first(reader, _INPUTS)
    instructions = reader.take(keys.GEN_AI_SYSTEM_INSTRUCTIONS)
    system = None if instructions is None else system_message(structured(instructions))
    if system is None:
        return value
    messages = [] if value is None else chat_messages(value)
    if messages is None or any(message["role"] == "system" for message in messages):
        return value
    return Conversation(messages=[system, *messages])


def take_output(reader: AttributeReader) -> Any:
    """The output of a span: the first that a convention gives, messages as `{"messages": [...]}`."""
    return _first(reader, _OUTPUTS)


def _first(reader: AttributeReader, conventions: Sequence[_Convention]) -> Any:
    values = [take(reader) for start, take in conventions if start in reader.keys]
    return next((value for value in values if value is not None), None)
