"""Messages and tools as OpenAI shaped them, and Mistral and LiteLLM too, in the GenAI conventions' terms.

They come as dicts or as models of the SDK; `field` reads both.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ._genai.parts import (
    BlobPart,
    FilePart,
    FunctionToolDefinition,
    GenericToolDefinition,
    InputMessage,
    MessagePart,
    Modality,
    OutputMessage,
    ReasoningPart,
    TextPart,
    ToolCallRequestPart,
    ToolCallResponsePart,
    ToolDefinition,
    decode_base64,
    image_from_url,
    tool_arguments_to_any_value,
)


def field(of: Any, name: str) -> Any:
    """A field of a dict or a model; what was left unset, in whichever way the SDK says so, is None."""
    value: Any = (
        cast("Mapping[str, Any]", of).get(name) if isinstance(of, Mapping) else getattr(of, name, None)
    )
    return value if value or isinstance(value, (int, float, str)) else None


def items(value: Any) -> list[Any]:
    """A list in a request or answer; nothing for what is none."""
    return list(cast("Iterable[Any]", value)) if isinstance(value, (list, tuple)) else []


def input_messages(messages: Any) -> list[InputMessage]:
    """The messages of a request."""
    return [
        InputMessage(role=str(field(message, "role")), parts=message_parts(message))
        for message in items(messages)
    ]


def output_messages(choices: Any) -> list[OutputMessage]:
    """The messages of an answer, one for each choice."""
    return [_output_message(choice) for choice in items(choices)]


def finish_reasons(choices: Any) -> list[str]:
    """Why each choice ended."""
    return [str(reason) for choice in items(choices) if (reason := field(choice, "finish_reason"))]


def tool_definitions(tools: Any) -> list[ToolDefinition]:
    """The tools that a request offers."""
    return [_tool_definition(tool) for tool in items(tools)]


def stop_sequences(stop: Any) -> list[str] | None:
    """The stop sequences of a request, given as one or several."""
    return [stop] if isinstance(stop, str) else items(stop) or None


def content_parts(content: Any) -> list[MessagePart]:
    """The parts of a message's content, which is text or a list of typed chunks."""
    if isinstance(content, str):
        return [TextPart(content)] if content else []
    return [part for chunk in items(content) if (part := _content_part(chunk)) is not None]


def text_of(content: Any) -> str:
    """The text of a message's content."""
    texts = (part.content for part in content_parts(content) if isinstance(part, (TextPart, ReasoningPart)))
    return "".join(texts)


def message_parts(message: Any) -> list[MessagePart]:
    """The parts of one message."""
    content = field(message, "content")
    if field(message, "role") == "tool":
        response = content if isinstance(content, str) else text_of(content)
        return [ToolCallResponsePart(response=response, id=field(message, "tool_call_id"))]
    reasoning, refusal = field(message, "reasoning_content"), field(message, "refusal")
    parts: list[MessagePart] = [ReasoningPart(reasoning)] if reasoning else []
    parts += content_parts(content)
    if refusal:
        parts.append(TextPart(refusal))
    return parts + [tool_call(call) for call in items(field(message, "tool_calls"))]


def _output_message(choice: Any) -> OutputMessage:
    message = field(choice, "message") or {"content": field(choice, "text")}
    return OutputMessage(
        role=field(message, "role") or "assistant",
        parts=message_parts(message),
        finish_reason=field(choice, "finish_reason"),
    )


def _content_part(chunk: Any) -> MessagePart | None:
    if isinstance(chunk, str):
        return TextPart(chunk)
    match field(chunk, "type"):
        case "text" | "output_text" | "input_text":
            return TextPart(str(field(chunk, "text")))
        case "refusal":
            return TextPart(str(field(chunk, "refusal")))
        case "thinking":
            return ReasoningPart(text_of(field(chunk, "thinking")))
        case "image_url" | "input_image":
            return _from_url(field(chunk, "image_url"), "url", Modality.IMAGE)
        case "document_url":
            return _from_url(field(chunk, "document_url"), "url", Modality.DOCUMENT)
        case "input_audio":
            return _audio(field(chunk, "input_audio"))
        case "file" | "input_file":
            return _file(field(chunk, "file") or chunk)
        case _:
            return None


def _from_url(given: Any, name: str, modality: Modality) -> MessagePart | None:
    url = given if isinstance(given, str) else field(given, name)
    return image_from_url(str(url), modality=modality) if url else None


def _audio(given: Any) -> MessagePart | None:
    data = given if isinstance(given, str) else field(given, "data")
    content = decode_base64(str(data))
    if content is None:
        return image_from_url(str(data), modality=Modality.AUDIO)
    format = field(given, "format")
    return BlobPart(mime_type=f"audio/{format}" if format else None, modality=Modality.AUDIO, content=content)


def _file(given: Any) -> MessagePart | None:
    file_id, data = field(given, "file_id"), field(given, "file_data")
    if file_id:
        return FilePart(mime_type=field(given, "format"), modality=Modality.DOCUMENT, file_id=str(file_id))
    return image_from_url(str(data), modality=Modality.DOCUMENT) if data else None


def tool_call(call: Any) -> ToolCallRequestPart:
    """One tool call of a message."""
    function = field(call, "function")
    arguments = tool_arguments_to_any_value(field(function, "arguments"))
    return ToolCallRequestPart(arguments=arguments, name=str(field(function, "name")), id=call_id(call))


def call_id(call: Any) -> str | None:
    """The id of a tool call; Mistral's SDK fills in the text "null" where there is none."""
    id = field(call, "id")
    return str(id) if id and id != "null" else None


def _tool_definition(tool: Any) -> ToolDefinition:
    kind = str(field(tool, "type"))
    # Those of Responses have what they are beside the type.
    function = field(tool, "function") or (tool if kind == "function" else None)
    if function is None:
        return GenericToolDefinition(name=field(tool, "name") or kind, type=kind)
    return FunctionToolDefinition(
        name=str(field(function, "name")),
        description=field(function, "description"),
        parameters=field(function, "parameters"),
    )
