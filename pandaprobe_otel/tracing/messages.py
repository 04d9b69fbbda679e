"""Chat messages, as PandaProbe and as OpenTelemetry's GenAI conventions write them.

PandaProbe: `{"messages": [{"role": "user", "content": "Hi"}]}`.
GenAI: `[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]`.
"""

from typing import Any, cast

_USER_ROLES = ("user", "human")
_ASSISTANT_ROLES = ("assistant", "ai")

Message = dict[str, Any]


def messages_of(value: object) -> list[Message] | None:
    """The messages of a value in PandaProbe's format, or None."""
    if not isinstance(value, dict):
        return None
    messages = cast("dict[str, Any]", value).get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    messages = cast("list[Any]", messages)
    return messages if all(map(_is_message, messages)) else None


def last_user_message(value: object) -> object:
    """`{"messages": [...]}` with only the last message of the user; any other value as it is."""
    return _last(value, _USER_ROLES)


def last_assistant_message(value: object) -> object:
    """`{"messages": [...]}` with only the last message of the assistant; any other value as it is."""
    return _last(value, _ASSISTANT_ROLES)


def to_genai(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages as the GenAI conventions' JSON schema has them."""
    return [_to_genai(message) for message in messages]


def _is_message(message: object) -> bool:
    if not isinstance(message, dict):
        return False
    message = cast("Message", message)
    content = message.get("content")
    return isinstance(message.get("role"), str) and (content is None or isinstance(content, (str, list)))


def _last(value: object, roles: tuple[str, ...]) -> object:
    for message in reversed(messages_of(value) or []):
        if message["role"] in roles:
            return {"messages": [message]}
    return value


def _to_genai(message: Message) -> dict[str, Any]:
    content: Any = message.get("content")
    if message["role"] == "tool":
        parts = [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}]
    else:
        items: list[Any] = [content] if isinstance(content, str) else content or []
        parts = [_part(item) for item in items]
        calls: list[Any] = message.get("tool_calls") or []
        parts += [_tool_call(call) for call in calls]
    converted = {"role": message["role"], "parts": parts}
    if message.get("name"):
        converted["name"] = message["name"]
    return converted


def _part(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return {"type": "text", "content": item}
    text = str(item)
    if isinstance(item, dict):
        part = cast("dict[str, Any]", item)
        if isinstance(part.get("text"), str):
            return {"type": "text", "content": part["text"]}
        image: Any = part.get("image_url")
        if image is not None:
            uri: Any = cast("Message", image).get("url") if isinstance(image, dict) else image
            return {"type": "uri", "modality": "image", "uri": uri}
        if isinstance(part.get("type"), str):
            return part
    return {"type": "text", "content": text}


def _tool_call(call: Any) -> dict[str, Any]:
    given: Message = cast("Message", call) if isinstance(call, dict) else {}
    function: Message = given.get("function") or given
    name, arguments = str(function.get("name", "")), function.get("arguments")
    return {"type": "tool_call", "id": given.get("id"), "name": name, "arguments": arguments}
