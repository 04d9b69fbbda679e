"""OpenAI's Realtime API: what is said over a connection, as one span for each response of the model.

A response is asked for by `response.create`, or the server begins it by itself when the user has spoken; it
ends with `response.done`. Audio comes in pieces both ways: they are counted, and not kept.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from . import _chat_messages as messages
from . import _responses, _spans
from ._chat_messages import field, items
from ._connections import EventsWatch
from ._genai.parts import (
    Error,
    InferenceInvocation,
    InputMessage,
    MessagePart,
    OutputMessage,
    TextPart,
    ToolCallRequestPart,
    tool_arguments_to_any_value,
)
from ._media import without_media
from ._turns import Turn

# Event -> what its piece is of. The first names of each are those of the beta.
_TEXTS = frozenset(
    {
        "response.text.delta",
        "response.output_text.delta",
        "response.audio_transcript.delta",
        "response.output_audio_transcript.delta",
        "response.function_call_arguments.delta",
    }
)
_AUDIO = frozenset({"response.audio.delta", "response.output_audio.delta"})
_DELTAS = _TEXTS | _AUDIO
# Where a session, a response and the request of one have what was chosen, each in one of these places.
_MODALITIES = ("output_modalities", "modalities")
_VOICES = ("audio.output.voice", "voice")
_HEARING = ("audio.input.turn_detection", "turn_detection")
_LIMITS = ("max_output_tokens", "max_response_output_tokens")
_FORMATS = {
    "input": ("audio.input.format.type", "input_audio_format"),
    "output": ("audio.output.format.type", "output_audio_format"),
}
# Why a response ended, in the conventions' words where they have one.
_REASONS = {"max_output_tokens": "length"}
_STATUSES = {"completed": "stop", "failed": "error"}


@dataclass
class _Item:
    """Something said to the model."""

    message: InputMessage
    id: str | None = None
    # Of audio whose pieces were counted; the server names the item that it makes of them later.
    awaits_id: bool = False


class _Response(Turn):
    def __init__(self, invocation: InferenceInvocation | None, asked: Any, said: list[_Item]) -> None:
        super().__init__(invocation)
        self.event_id: str | None = None
        self.asked: Any = asked
        self.said = said
        self.session: Any = None
        self.response: Any = None
        self._audio = 0
        # Output items by their ids, and pieces of each.
        self._items: dict[str, Any] = {}
        self._pieces: dict[str, list[str]] = {}

    def take(self, kind: str, event: Any) -> None:
        """Takes a piece of the answer."""
        self.error = None
        self.begin()
        if kind in _AUDIO:
            self._audio += _size(field(event, "delta"))
        elif self.keeps_content:
            piece = field(event, "delta")
            self._pieces.setdefault(field(event, "item_id") or "", []).append(piece or "")

    def take_item(self, item: Any) -> None:
        """Takes an item of the answer as it is by then."""
        if self.keeps_content:
            self._items[field(item, "id") or ""] = item

    def tell(self, invocation: InferenceInvocation) -> None:
        self._tell_what_holds(invocation)
        response = self.response
        invocation.response_id = field(response, "id")
        _put_usage(invocation, field(response, "usage"))
        reason = _finish_reason(response)
        invocation.finish_reasons = [reason] if reason else []
        if invocation.should_capture_content:
            given = [item.message for item in self.said if item.message.parts]
            invocation.input_messages = given
            parts = self._parts()
            if parts:
                message = OutputMessage(role="assistant", parts=parts, finish_reason=reason)
                invocation.output_messages = [message]

    def _tell_what_holds(self, invocation: InferenceInvocation) -> None:
        chosen = (self.response, self.asked, self.session)
        modalities = items(_first(_MODALITIES, *chosen))
        if modalities:
            invocation.output_type = "speech" if "audio" in modalities else "text"
        invocation.response_model_name = field(self.session, "model")
        invocation.temperature = _first(("temperature",), *chosen)
        limit = _first(_LIMITS, *chosen)
        # "inf" where there is none.
        invocation.max_tokens = limit if isinstance(limit, int) else None
        voice = _first(_VOICES, *chosen)
        _spans.put_parameters(
            invocation,
            {
                "voice": voice if isinstance(voice, str) else field(voice, "id"),
                "modalities": modalities or None,
            },
        )
        if invocation.should_capture_content:
            wanted = (self.asked, self.session)
            invocation.system_instruction = messages.content_parts(_first(("instructions",), *wanted))
            invocation.tool_definitions = messages.tool_definitions(_first(("tools",), *wanted)) or None

    def _parts(self) -> list[MessagePart]:
        whole = items(field(self.response, "output"))
        parts = [part for item in whole for part in _message(item).parts] or self._pieces_as_parts()
        if self._audio:
            parts.append(_counted(self._audio, "output", self.response, self.asked, self.session))
        return parts

    def _pieces_as_parts(self) -> list[MessagePart]:
        parts: list[MessagePart] = []
        for id in dict.fromkeys((*self._items, *self._pieces)):
            item, text = self._items.get(id), "".join(self._pieces.get(id, ()))
            if field(item, "type") == "function_call":
                arguments = tool_arguments_to_any_value(field(item, "arguments") or text)
                name, call_id = str(field(item, "name")), field(item, "call_id")
                parts.append(ToolCallRequestPart(arguments=arguments, name=name, id=call_id))
            elif text:
                parts.append(TextPart(text))
        return parts


class RealtimeWatch(EventsWatch):
    """Makes spans of the responses of one connection."""

    _session: Any = None
    # Bytes of audio since they were made an item last.
    _audio = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What was said since the last response; where there never is one, not all of it.
        self._said: deque[_Item] = deque(maxlen=1000)
        # Responses that were asked for and have no id yet, and those that have one.
        self._asked: list[_Response] = []
        self._answering: dict[str, _Response] = {}

    def turns(self) -> list[Turn]:
        found: list[Turn] = [*self._asked, *self._answering.values()]
        self._asked, self._answering = [], {}
        return found

    def sent(self, message: Any) -> Turn | None:
        kind = field(message, "type")
        with self.lock:
            match kind:
                case "input_audio_buffer.append":
                    self._audio += _size(field(message, "audio"))
                case "input_audio_buffer.clear":
                    self._audio = 0
                case "input_audio_buffer.commit":
                    self._commit(None)
                case "conversation.item.create":
                    item = field(message, "item")
                    self._said.append(_Item(_message(item), field(item, "id")))
                case "response.create":
                    return self._ask(message)
                case _:
                    pass
        return None

    def take(self, event: Any) -> None:
        kind: str = field(event, "type") or ""
        if kind in _DELTAS:
            if (response := self._answering.get(field(event, "response_id"))) is not None:
                response.take(kind, event)
            return
        match kind:
            case "session.created" | "session.updated":
                self._session = field(event, "session")
            case "input_audio_buffer.committed":
                self._commit(field(event, "item_id"))
            case "conversation.item.input_audio_transcription.completed":
                self._heard(field(event, "item_id"), field(event, "transcript"))
            case "response.created":
                self._begin(field(event, "response"))
            case "response.output_item.added" | "response.output_item.done":
                if (response := self._answering.get(field(event, "response_id"))) is not None:
                    response.take_item(field(event, "item"))
            case "response.done":
                self._end(field(event, "response"))
            case "error":
                self._note_error(field(event, "error"))
            case _:
                pass

    def _ask(self, event: Any) -> Turn:
        self.model = self.model or field(self._session, "model")
        asked = field(event, "response")
        given = items(field(asked, "input"))
        response = _Response(self.start(), asked, [_Item(_message(item)) for item in given])
        if not given:
            response.said = list(self._said)
            # Beside the conversation, what was said is still to be answered in it.
            if field(asked, "conversation") != "none":
                self._said.clear()
        response.event_id = field(event, "event_id")
        self._asked.append(response)
        return response

    def forget(self, turn: Turn) -> None:
        self._asked = [one for one in self._asked if one is not turn]

    def _begin(self, begun: Any) -> None:
        if self.was_left:
            return
        metadata = field(begun, "metadata")
        # Those of several are told apart by it, and so is one that the server begins by itself.
        named = [one for one in self._asked if field(one.asked, "metadata") == metadata]
        if not named and _first(_HEARING, self._session) is None:
            named = self._asked
        response = next(iter(named), None)
        if response is None:
            # The server heard the user end.
            self.model = self.model or field(self._session, "model")
            response = _Response(self.start(), None, list(self._said))
            self._said.clear()
        else:
            self._asked.remove(response)
        response.session, response.response, response.error = self._session, begun, None
        self._answering[field(begun, "id") or ""] = response

    def _end(self, done: Any) -> None:
        response = self._answering.pop(field(done, "id") or "", None)
        if response is None:
            return
        response.session = response.session or self._session
        response.response = done
        failed = field(done, "status") == "failed"
        response.end(reported(field(field(done, "status_details"), "error")) if failed else None)

    def _note_error(self, error: Any) -> None:
        refused = next(
            (one for one in self._asked if one.event_id and one.event_id == field(error, "event_id")), None
        )
        if refused is None and _is_of_asking(error):
            refused = next(iter(self._asked), None)
        if refused is not None:
            self._asked.remove(refused)
            refused.end(reported(error))
            return
        # It may be of something else; whether it was of these shows in what comes next.
        for response in (*self._asked, *self._answering.values()):
            response.error = reported(error)

    def _commit(self, id: str | None) -> None:
        if id is not None:
            waiting = next((item for item in self._all_said() if item.awaits_id), None)
            if waiting is not None:
                waiting.id, waiting.awaits_id = id, False
                return
        parts: list[MessagePart] = [_counted(self._audio, "input", self._session)] if self._audio else []
        self._audio = 0
        self._said.append(_Item(InputMessage(role="user", parts=parts), id, awaits_id=id is None))

    def _heard(self, id: str | None, transcript: str | None) -> None:
        for item in self._all_said():
            if transcript and id and item.id == id:
                item.message.parts.insert(0, TextPart(transcript))
                return

    def _all_said(self) -> list[_Item]:
        responses = (*self._answering.values(), *self._asked)
        return [*(item for response in responses for item in response.said), *self._said]


def _message(item: Any) -> InputMessage:
    """One item of the conversation."""
    given = {name: field(item, name) for name in ("type", "role", "name", "call_id", "arguments", "output")}
    content = [part for piece in items(field(item, "content")) for part in _content(piece)]
    return _responses.message({**given, "content": content})


def _content(piece: Any) -> list[Any]:
    transcript, audio, image = (field(piece, name) for name in ("transcript", "audio", "image_url"))
    # What comes whole has a hash too.
    if audio:
        audio = without_media(f"data:audio/pcm;base64,{audio}")
    elif str(image).startswith("data:"):
        audio = without_media(image)
    found = [{"type": "text", "text": text} for text in (transcript, audio) if text]
    return found or [piece]


def _counted(size: int, way: str, *sources: Any) -> TextPart:
    format = str(_first(_FORMATS[way], *sources) or "pcm")
    return TextPart(f"[{format if '/' in format else f'audio/{format}'}, {size} bytes]")


def _size(base64: Any) -> int:
    if not isinstance(base64, str):
        return 0
    return len(base64) * 3 // 4 - base64.count("=", -2)


def _first(paths: tuple[str, ...], *sources: Any) -> Any:
    for value in sources:
        for path in paths:
            found = value
            for name in path.split("."):
                found = field(found, name)
            if found is not None:
                return found
    return None


def _finish_reason(response: Any) -> str | None:
    status = field(response, "status")
    if status == "incomplete":
        reason = field(field(response, "status_details"), "reason") or status
        return _REASONS.get(reason, reason)
    calls = any(field(item, "type") == "function_call" for item in items(field(response, "output")))
    if status == "completed" and calls:
        return "tool_calls"
    return None if status == "in_progress" else _STATUSES.get(status, status)


def reported(error: Any) -> Error:
    """An error as the server reports one."""
    kind = field(error, "code") or field(error, "type") or "_OTHER"
    return Error(message=field(error, "message"), type=str(kind))


def _is_of_asking(error: Any) -> bool:
    return field(error, "code") == "conversation_already_has_active_response" or str(
        field(error, "param")
    ).startswith("response")


def _put_usage(invocation: InferenceInvocation, usage: Any) -> None:
    asked, answered = field(usage, "input_token_details"), field(usage, "output_token_details")
    invocation.input_tokens = field(usage, "input_tokens")
    invocation.output_tokens = field(usage, "output_tokens")
    invocation.cache_read_input_tokens = field(asked, "cached_tokens")
    invocation.thinking_tokens = field(answered, "reasoning_tokens")
    invocation.set_input_tokens(_by_modality(asked))
    invocation.set_output_tokens(_by_modality(answered))
    invocation.set_cache_read_input_tokens(_by_modality(field(asked, "cached_tokens_details")))


def _by_modality(details: Any) -> list[tuple[str, int | None]] | None:
    found = [(kind, field(details, f"{kind}_tokens")) for kind in ("text", "audio", "image")]
    return [(kind, count) for kind, count in found if count is not None] or None
