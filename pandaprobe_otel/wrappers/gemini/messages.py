"""Requests and answers of google-genai in the GenAI conventions' terms."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from .._chat_messages import field, items
from .._genai.parts import (
    BlobPart,
    FunctionToolDefinition,
    GenericToolDefinition,
    InputMessage,
    MessagePart,
    Modality,
    OutputMessage,
    ReasoningPart,
    ServerToolCallPart,
    ServerToolCallResponsePart,
    SystemInstructionPart,
    TextPart,
    ToolCallRequestPart,
    ToolCallResponsePart,
    ToolDefinition,
    UriPart,
    object_to_any_value,
)

# Gemini's names of finish reasons that the conventions have one for.
_FINISH_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", "OTHER": "error"}
_MODALITIES = {kind.value: kind for kind in Modality}
# What a tool's declaration holds besides functions: built-in tools, each in a field of its name.
_FUNCTIONS = "function_declarations"


def input_messages(contents: Any) -> list[InputMessage]:
    """The messages of a request, whose contents are texts, parts, messages or a mixed list of them."""
    messages: list[InputMessage] = []
    loose: list[MessagePart] = []
    for item in items(contents) or [contents]:
        listed = items(field(item, "parts"))
        if not listed and not _is_message(item):
            loose += _parts(item)
            continue
        if loose:
            messages.append(InputMessage(role="user", parts=loose))
            loose = []
        parts = [part for given in listed for part in _parts(given)]
        messages.append(InputMessage(role=_role(field(item, "role"), parts), parts=parts))
    if loose:
        messages.append(InputMessage(role=_role("user", loose), parts=loose))
    return messages


def system_instruction(given: Any) -> list[SystemInstructionPart]:
    """The texts of a system instruction, which comes in any of the forms that contents have."""
    parts = [part for message in input_messages(given) for part in message.parts] if given else []
    return [part for part in parts if isinstance(part, TextPart)]


def output_message(candidate: Any) -> OutputMessage:
    """One candidate of an answer."""
    parts = [part for given in items(field(field(candidate, "content"), "parts")) for part in _parts(given)]
    return OutputMessage(role="assistant", parts=parts, finish_reason=finish_reason(candidate))


def finish_reason(candidate: Any) -> str | None:
    """Why a candidate ended: the conventions' word where there is one, else Gemini's in lower case."""
    reason = field(candidate, "finish_reason")
    if reason is None:
        return None
    name = str(getattr(reason, "value", reason))
    return _FINISH_REASONS.get(name, name.lower())


def tool_definitions(tools: Any, declared: Callable[[Any], Any]) -> list[ToolDefinition]:
    """The tools that a request offers.

    Args:
        declared: Gives the declaration that the SDK makes of a Python function.
    """
    definitions: list[ToolDefinition] = []
    for tool in items(tools):
        if callable(tool):
            definitions.append(_definition(declared(tool)))
            continue
        definitions += [_definition(function) for function in items(field(tool, _FUNCTIONS))]
        built_in = [name for name in _fields(tool) if name != _FUNCTIONS and field(tool, name) is not None]
        definitions += [GenericToolDefinition(name=name, type=name) for name in built_in]
    return definitions


def modality_tokens(details: Any) -> list[tuple[str, int | None]] | None:
    """A breakdown of tokens by modality; None where there is none."""
    found = [
        (str(getattr(m := field(item, "modality"), "value", m)), field(item, "token_count"))
        for item in items(details)
    ]
    return found or None


def _fields(model: Any) -> Iterable[str]:
    if isinstance(model, Mapping):
        return cast("Mapping[str, Any]", model)
    return getattr(cast("type[Any]", type(model)), "model_fields", ())


def _is_message(item: Any) -> bool:
    return field(item, "role") is not None


def _role(role: Any, parts: list[MessagePart]) -> str:
    if parts and all(isinstance(part, ToolCallResponsePart) for part in parts):
        return "tool"
    return "assistant" if role == "model" else str(role or "user")


def _parts(part: Any) -> list[MessagePart]:
    if part is None:
        return []
    if isinstance(part, str):
        return [TextPart(part)]
    converted = _part(part)
    return [] if converted is None else [converted]


def _part(part: Any) -> MessagePart | None:
    if (text := field(part, "text")) is not None:
        return ReasoningPart(text) if field(part, "thought") else TextPart(text)
    for name, convert in _CONVERSIONS.items():
        if (value := field(part, name)) is not None:
            return convert(value)
    # An uploaded file, given as it is.
    return _file(part) if field(part, "uri") else None


def _function_call(call: Any) -> MessagePart:
    arguments = object_to_any_value(field(call, "args") or {})
    return ToolCallRequestPart(arguments=arguments, name=str(field(call, "name")), id=field(call, "id"))


def _function_response(response: Any) -> MessagePart:
    # Gemini's own API matches calls and responses by name when it gives no ids.
    id = field(response, "id") or field(response, "name")
    return ToolCallResponsePart(response=object_to_any_value(field(response, "response")), id=id)


def _blob(blob: Any) -> MessagePart | None:
    data, mime_type = field(blob, "data"), field(blob, "mime_type")
    if not isinstance(data, bytes):
        return None
    return BlobPart(mime_type=mime_type, modality=_modality(mime_type), content=data)


def _file(file: Any) -> MessagePart:
    uri, mime_type = field(file, "file_uri") or field(file, "uri"), field(file, "mime_type")
    return UriPart(mime_type=mime_type, modality=_modality(mime_type), uri=str(uri))


def _code(code: Any) -> MessagePart:
    call = {
        "type": "code_execution",
        "language": plain(field(code, "language")),
        "code": field(code, "code"),
    }
    return ServerToolCallPart(name="code_execution", server_tool_call=call)


def _code_result(result: Any) -> MessagePart:
    outcome, output = plain(field(result, "outcome")), field(result, "output")
    response = {"type": "code_execution", "outcome": outcome, "output": output}
    return ServerToolCallResponsePart(server_tool_call_response=response)


def _tool_call(call: Any) -> MessagePart:
    kind = str(plain(field(call, "tool_type"))).lower()
    told = {"type": kind, "arguments": object_to_any_value(field(call, "args"))}
    return ServerToolCallPart(name=kind, server_tool_call=told, id=field(call, "id"))


def _tool_response(response: Any) -> MessagePart:
    kind = str(plain(field(response, "tool_type"))).lower()
    told = {"type": kind, "response": object_to_any_value(field(response, "response"))}
    return ServerToolCallResponsePart(server_tool_call_response=told, id=field(response, "id"))


def _modality(mime_type: str | None) -> Modality | str:
    return _MODALITIES.get((mime_type or "").partition("/")[0], Modality.DOCUMENT)


def plain(value: Any) -> Any:
    """An enumeration's value; anything else as it is."""
    return getattr(value, "value", value)


def _definition(function: Any) -> ToolDefinition:
    schema = field(function, "parameters_json_schema") or field(function, "parameters")
    if hasattr(schema, "model_dump"):
        schema = schema.model_dump(mode="json", exclude_none=True)
    return FunctionToolDefinition(
        name=str(field(function, "name")), description=field(function, "description"), parameters=schema
    )


# Field of a part -> what it becomes. Exactly one of them is set.
_CONVERSIONS: dict[str, Callable[[Any], MessagePart | None]] = {
    "function_call": _function_call,
    "function_response": _function_response,
    "inline_data": _blob,
    "file_data": _file,
    "executable_code": _code,
    "code_execution_result": _code_result,
    "tool_call": _tool_call,
    "tool_response": _tool_response,
}
