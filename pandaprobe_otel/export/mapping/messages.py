"""Messages of several conventions as chat messages in OpenAI's shape: what PandaProbe shows and evaluates."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...media import is_summary
from .clean import clean_json
from .reader import as_list, as_mapping, structured

Message = dict[str, Any]

USER_ROLES = frozenset({"user", "human"})
ASSISTANT_ROLES = frozenset({"assistant", "ai", "model"})
# No convention's path is longer.
_MAX_STEPS = 16
_ROLES = USER_ROLES | ASSISTANT_ROLES | {"system", "developer", "tool"}


class Conversation(dict[str, Any]):
    """`{"messages": [...]}` whose messages are chat messages already."""


def conversation(value: Any) -> Any:
    """The value with its messages as `{"messages": [...]}`; a value without messages as it is."""
    messages = chat_messages(value)
    if messages is None or isinstance(value, Conversation):
        return value
    mapping = as_mapping(value) or {}
    return Conversation({**(mapping if "messages" in mapping else {}), "messages": messages})


def chat_messages(value: Any) -> list[Message] | None:
    """The messages of a value: of `{"messages": [...]}`, a list of messages, or one message.

    Messages may be in OTel's shape (`parts`) or chat messages already. None when the value holds none.
    """
    if isinstance(value, Conversation):
        return value["messages"]
    mapping = as_mapping(value)
    if mapping is not None:
        role = mapping.get("role")
        single = isinstance(role, str) and role in _ROLES and ("content" in mapping or "parts" in mapping)
        value = [mapping] if single else mapping.get("messages")
    items = [as_mapping(item) for item in as_list(value) or ()]
    if not items or any(item is None or not isinstance(item.get("role"), str) for item in items):
        return None
    return [message for item in items if item is not None for message in _from_parts(item)]


def system_message(instructions: Any) -> Message | None:
    """The message that `gen_ai.system_instructions` stands for."""
    if isinstance(instructions, str) and instructions:
        return {"role": "system", "content": instructions}
    parts = as_list(instructions)
    return next(_from_parts({"role": "system", "parts": parts}), None) if parts else None


def last_message(value: Any, roles: frozenset[str]) -> Any:
    """`{"messages": [the last message of these roles]}`; the value itself when it has none."""
    messages = chat_messages(value)
    for message in reversed(messages or ()):
        if message["role"] in roles:
            kept = {key: item for key, item in message.items() if key != "reasoning_content"}
            return {"messages": [kept]}
    return value


def reasoning_summary(messages: Sequence[Message]) -> str | None:
    """What the messages say of the model's reasoning."""
    texts = [message.get("reasoning_content") for message in messages]
    return "\n\n".join(text for text in texts if isinstance(text, str)) or None


def flat_messages(fields: Mapping[str, Any], default_role: str) -> list[Message]:
    """Messages that came as one attribute per field, `0.role` or `0.message.role`."""
    items = as_list(_nested(fields)) or ()
    found = [as_mapping(item) or {} for item in items]
    return [_from_fields(as_mapping(item.get("message")) or item, default_role) for item in found if item]


def _from_parts(message: Mapping[str, Any]) -> Iterator[Message]:
    """One chat message, after one per tool response in it."""
    parts = as_list(message.get("parts"))
    if parts is None:
        yield dict(message)
        return
    content: list[Any] = []
    tool_calls: list[Message] = []
    reasoning: list[str] = []
    answered = False
    for item in parts:
        part = as_mapping(item) or {"type": "text", "content": item}
        kind = part.get("type")
        if kind == "text":
            content.append({"type": "text", "text": _as_text(part.get("content", part.get("text")))})
        elif kind == "reasoning":
            reasoning.append(_as_text(part.get("content")))
        elif kind == "tool_call":
            tool_calls.append(_tool_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind == "tool_call_response":
            answered = True
            response = part.get("response", part.get("result"))
            yield {"role": "tool", "tool_call_id": part.get("id"), "content": _as_text(response)}
        else:
            content.append(_image(part) or dict(part))
    if answered and not (content or tool_calls or reasoning):
        return
    role = "assistant" if message["role"] == "model" else message["role"]
    chat: Message = {"role": role, "content": _content(content)}
    if message.get("name") is not None:
        chat["name"] = message["name"]
    if tool_calls:
        chat["tool_calls"] = tool_calls
    if reasoning:
        chat["reasoning_content"] = "\n\n".join(reasoning)
    yield chat


def _from_fields(item: Mapping[str, Any], default_role: str) -> Message:
    role = item.get("role")
    content = structured(item.get("content"))
    contents = as_list(item.get("contents"))
    if contents is not None:
        content = _content([_content_part(part) for part in contents])
    elif not isinstance(content, (str, list)) and content is not None:
        content = _as_text(item.get("content"))
    message: Message = {"role": role if isinstance(role, str) else default_role, "content": content}
    message |= {key: item[key] for key in ("name", "tool_call_id") if key in item}
    calls = [as_mapping(call) or {} for call in as_list(item.get("tool_calls")) or ()]
    if calls:
        message["tool_calls"] = [
            _tool_call_of_fields(as_mapping(call.get("tool_call")) or call) for call in calls
        ]
    return message


def _content_part(item: Any) -> Any:
    part = as_mapping(item) or {}
    part = as_mapping(part.get("message_content")) or part
    if part.get("type") == "text":
        return {"type": "text", "text": _as_text(part.get("text"))}
    image = as_mapping(part.get("image")) or {}
    url = (as_mapping(image.get("image")) or image).get("url")
    return {"type": "image_url", "image_url": {"url": url}} if url else dict(part)


def _tool_call_of_fields(call: Mapping[str, Any]) -> Message:
    function = as_mapping(call.get("function")) or call
    return _tool_call(call.get("id"), function.get("name"), function.get("arguments"))


def _tool_call(id: Any, name: Any, arguments: Any) -> Message:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": _as_text(arguments)}}


def _image(part: Mapping[str, Any]) -> Message | None:
    if part.get("modality") != "image":
        return None
    url = part.get("uri")
    if part.get("type") == "blob":
        content = part.get("content")
        url = (
            content if is_summary(content) else f"data:{part.get('mime_type') or 'image/*'};base64,{content}"
        )
    return {"type": "image_url", "image_url": {"url": url}} if url else None


def _content(parts: list[Any]) -> Any:
    if not parts:
        return None
    if len(parts) == 1 and parts[0].get("type") == "text":
        return parts[0]["text"]
    return parts


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(clean_json(value), ensure_ascii=False)


class _Fields(dict[str, Any]):
    """The fields below one step of a dotted path; no value of an attribute is one."""


def _nested(fields: Mapping[str, Any]) -> Any:
    """`{"0.role": "user"}` as `[{"role": "user"}]`."""
    tree = _Fields()
    for path, value in fields.items():
        *steps, last = path.split(".")
        node = tree
        for step in steps[:_MAX_STEPS]:
            below = node.setdefault(step, _Fields())
            if not isinstance(below, _Fields):
                break
            node = below
        else:
            node.setdefault(last, value)
    return _with_lists(tree)


def _with_lists(node: Any) -> Any:
    if not isinstance(node, _Fields):
        return node
    below = {key: _with_lists(value) for key, value in node.items()}
    # Longer numbers are no index, and Python refuses to read very long ones.
    if below and all(key.isdecimal() and len(key) < 10 for key in below):
        return [below[key] for key in sorted(below, key=int)]
    return below
