"""What went into a span and what came out of it, whichever convention says so."""

from collections.abc import Callable
from typing import Any

from ... import attributes as keys
from .messages import chat_messages, flat_messages, system_message
from .reader import AttributeReader, as_mapping, parsed, structured


def take_input(reader: AttributeReader) -> Any:
    """The input of a span: the first that a convention gives, messages as `{"messages": [...]}`."""
    value = _first(
        parsed(reader.take(keys.PANDAPROBE_INPUT)),
        _take_messages(reader, keys.GEN_AI_INPUT_MESSAGES),
        structured(reader.take(keys.GEN_AI_TOOL_CALL_ARGUMENTS)),
        _take_flat(reader, keys.GEN_AI_PROMPT_PREFIX, "user"),
        _take_flat(reader, keys.LLM_INPUT_MESSAGES_PREFIX, "user"),
        _take_value(reader, keys.INPUT_VALUE, keys.INPUT_MIME_TYPE),
        structured(reader.take(keys.TRACELOOP_ENTITY_INPUT)),
    )
    system = system_message(structured(reader.take(keys.GEN_AI_SYSTEM_INSTRUCTIONS)))
    if system is None:
        return value
    messages = [] if value is None else chat_messages(value)
    if messages is None or any(message["role"] == "system" for message in messages):
        return value
    return {"messages": [system, *messages]}


def take_output(reader: AttributeReader) -> Any:
    """The output of a span: the first that a convention gives, messages as `{"messages": [...]}`."""
    return _first(
        parsed(reader.take(keys.PANDAPROBE_OUTPUT)),
        _take_messages(reader, keys.GEN_AI_OUTPUT_MESSAGES),
        structured(reader.take(keys.GEN_AI_TOOL_CALL_RESULT)),
        _take_flat(reader, keys.GEN_AI_COMPLETION_PREFIX, "assistant"),
        _take_flat(reader, keys.LLM_OUTPUT_MESSAGES_PREFIX, "assistant"),
        _take_value(reader, keys.OUTPUT_VALUE, keys.OUTPUT_MIME_TYPE),
        structured(reader.take(keys.TRACELOOP_ENTITY_OUTPUT)),
    )


def conversation(value: Any) -> Any:
    """The value with its messages as `{"messages": [...]}`; a value without messages as it is."""
    messages = chat_messages(value)
    if messages is None:
        return value
    mapping = as_mapping(value) or {}
    return {**(mapping if "messages" in mapping else {}), "messages": messages}


def _take_messages(reader: AttributeReader, key: str) -> Any:
    return conversation(structured(reader.take(key)))


def _take_flat(reader: AttributeReader, prefix: str, default_role: str) -> Any:
    fields = reader.take_prefixed(prefix)
    messages = flat_messages(fields, default_role) if fields else []
    return {"messages": messages} if messages else None


def _take_value(reader: AttributeReader, key: str, type_key: str) -> Any:
    read: Callable[[Any], Any] = parsed if reader.take(type_key) == "application/json" else structured
    return read(reader.take(key))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
