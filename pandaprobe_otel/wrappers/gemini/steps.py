"""Steps of interactions in the GenAI conventions' terms.

A step is an answer, a thought, a call of a tool or its result. Older versions of the SDK have no steps: what
they hold is listed by itself, or in turns that have a role.
"""

from typing import Any

from ... import media
from .._chat_messages import field, items
from .._genai.parts import (
    BlobPart,
    InputMessage,
    MessagePart,
    Modality,
    ReasoningPart,
    ServerToolCallPart,
    ServerToolCallResponsePart,
    TextPart,
    ToolCallRequestPart,
    ToolCallResponsePart,
    UriPart,
    decode_base64,
    tool_arguments_to_any_value,
)
from .._media import without_media

MEDIA = {
    "image": Modality.IMAGE,
    "audio": Modality.AUDIO,
    "video": Modality.VIDEO,
    "document": Modality.DOCUMENT,
}
_FROM_USER = ("user_input", "text", *MEDIA)
# Steps that hold a list of contents.
_LISTS = ("user_input", "model_output")


def input_messages(given: Any) -> list[InputMessage]:
    """The messages of a request, whose input is a text, a content, or a list of contents, steps or turns."""
    messages: list[InputMessage] = []
    for item in items(given) or [given]:
        parts = step_parts(item)
        role = _role(item)
        if messages and messages[-1].role == role:
            messages[-1].parts.extend(parts)
        elif parts:
            messages.append(InputMessage(role=role, parts=parts))
    return messages


def step_parts(item: Any) -> list[MessagePart]:
    """The parts of a step, a turn or a content."""
    if item is None or isinstance(item, str):
        return [TextPart(item)] if item else []
    item = known(item)
    kind = kind_of(item)
    if kind in _LISTS:
        content = field(item, "content")
        return [part for held in items(content) or [content] for part in step_parts(held)]
    if kind == "thought":
        texts = (field(known(held), "text") for held in items(field(item, "summary")))
        return [ReasoningPart(text) for text in texts if text]
    part = _part(kind, item)
    return [] if part is None else [part]


def kind_of(item: Any) -> str:
    """What a step or a content is; a turn is a list of contents."""
    kind = field(item, "type")
    if kind is None:
        return "text" if field(item, "text") is not None else "user_input"
    return str(kind)


def known(item: Any) -> Any:
    """What the server sent where the SDK does not know its kind; anything else as it is."""
    return field(item, "raw") if field(item, "is_unknown") else item


def _role(item: Any) -> str:
    role = field(item, "role")
    if role is not None:
        return "assistant" if role == "model" else str(role)
    kind = "text" if isinstance(item, str) else kind_of(known(item))
    if kind == "function_result":
        return "tool"
    return "user" if kind in _FROM_USER else "assistant"


def _part(kind: str, item: Any) -> MessagePart | None:
    if kind == "text":
        text = field(item, "text")
        return TextPart(text) if text else None
    if kind in MEDIA:
        return _medium(MEDIA[kind], item)
    name, id, call_id = field(item, "name"), field(item, "id"), field(item, "call_id")
    if kind == "function_call":
        arguments = tool_arguments_to_any_value(field(item, "arguments") or {})
        return ToolCallRequestPart(arguments=arguments, name=str(name), id=id)
    if kind == "function_result":
        return ToolCallResponsePart(response=_result(field(item, "result")), id=call_id)
    if kind.endswith("_call"):
        tool = kind.removesuffix("_call")
        told = {"type": tool, "arguments": without_media(field(item, "arguments"))}
        return ServerToolCallPart(name=name or tool, server_tool_call=told, id=id)
    if kind.endswith("_result"):
        told = {"type": kind.removesuffix("_result"), "result": _result(field(item, "result"))}
        return ServerToolCallResponsePart(server_tool_call_response=told, id=call_id)
    return None


def _medium(modality: Modality, item: Any) -> MessagePart | None:
    mime_type, data, uri = field(item, "mime_type"), field(item, "data"), field(item, "uri")
    if uri is not None:
        return UriPart(mime_type=mime_type, modality=modality, uri=str(uri))
    if isinstance(data, str):
        content = decode_base64(data)
        return BlobPart(mime_type=mime_type, modality=modality, content=content) if content else None
    # An open file or a path, which the SDK reads.
    return None if data is None else TextPart(str(without_media(data)))


def _result(result: Any) -> Any:
    """What a tool gave, with a summary in place of media."""
    if isinstance(result, list):
        return [_result(item) for item in items(result)]
    data = field(result, "data")
    if field(result, "type") in MEDIA and isinstance(data, str):
        return media.summary(decode_base64(data) or b"", str(field(result, "mime_type")))
    return without_media(result)
