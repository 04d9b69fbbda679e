"""Gemini Live: what is said over a connection, as one span for each turn of the model.

A turn is asked for by content or by the result of a tool, or the model begins it by itself when the user has
spoken. Audio and video come in pieces both ways: they are counted, and not kept.
"""

from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry.context import Context

from .._chat_messages import field, items
from .._connections import Hook, Watch, here
from .._genai.parts import InferenceInvocation, InputMessage, MessagePart, OutputMessage, TextPart
from .._turns import Turn
from . import calls, messages

# Kinds of media, each with its bytes.
_Sizes = dict[str, int]


class _Said:
    """What was said to the model since its last turn."""

    def __init__(self) -> None:
        self.messages: list[InputMessage] = []
        self.media: _Sizes = {}
        # Pieces of the transcript of the user's speech.
        self.heard: list[str] = []

    def add(self, more: "_Said") -> None:
        """Appends what was said after it."""
        self.messages += more.messages
        self.heard += more.heard
        for kind, size in more.media.items():
            _count(self.media, kind, size)

    def as_messages(self) -> list[InputMessage]:
        """All of it, what was spoken last."""
        spoken = _texts(self.heard, self.media)
        return [*self.messages, InputMessage(role="user", parts=spoken)] if spoken else self.messages


class _LiveTurn(Turn):
    def __init__(self, invocation: InferenceInvocation | None, said: _Said, config: Any) -> None:
        super().__init__(invocation)
        self.said = said
        # Whether what is heard from now on is not of this turn.
        self.was_heard = bool(said.heard) or not said.media
        self.called = False
        self.heard_at: int | None = None
        self.interrupted = False
        self.reason: Any = None
        self.usage: Any = None
        self._config = config
        self._answer = calls.Candidate(self.keeps_content)
        self._spoken: list[str] = []
        self._media: _Sizes = {}

    def take(self, content: Any) -> None:
        """Takes a piece of the answer."""
        self.begin()
        self.called = False
        for part in items(field(field(content, "model_turn"), "parts")):
            if (blob := field(part, "inline_data")) is not None:
                _count(self._media, *_size(blob))
            else:
                self._answer.add(messages.output_message({"content": {"parts": [part]}}))
        if self.keeps_content and (spoken := field(field(content, "output_transcription"), "text")):
            self._spoken.append(spoken)

    def take_call(self, call: Any) -> None:
        """Takes calls of functions."""
        self.begin()
        self.called, self.heard_at = True, time_ns()
        parts = [{"function_call": one} for one in items(field(call, "function_calls"))]
        self._answer.add(messages.output_message({"content": {"parts": parts}}))

    def tell(self, invocation: InferenceInvocation) -> None:
        voice = field(field(field(self._config, "speech_config"), "voice_config"), "prebuilt_voice_config")
        calls.ask(invocation, {"config": self._config}, voice=field(voice, "voice_name"))
        modalities = [messages.plain(kind) for kind in items(field(self._config, "response_modalities"))]
        speaks = "AUDIO" in modalities or any(kind.startswith("audio/") for kind in self._media)
        invocation.output_type = "speech" if speaks else "text"
        calls.put_usage(invocation, _as_of_content(self.usage))
        reason = self._finish_reason()
        invocation.finish_reasons = [reason] if reason else []
        if invocation.should_capture_content:
            invocation.input_messages = self.said.as_messages()
            parts = [*self._answer.message().parts, *_texts(self._spoken, self._media)]
            if parts:
                invocation.output_messages = [OutputMessage("assistant", parts, reason)]

    def _finish_reason(self) -> str | None:
        if self.interrupted:
            return "interrupted"
        if self.called:
            return "tool_calls"
        return None if self.reason is None else str(messages.plain(self.reason)).lower()


class LiveWatch(Watch):
    """Makes spans of the turns of one connection.

    Args:
        config: What the connection was made with.
    """

    def __init__(self, *args: Any, config: Any = None) -> None:
        super().__init__(*args)
        self._config = _config(config)
        self._said = _Said()
        self._turn: _LiveTurn | None = None
        # Where the next turn was asked for while this one went on.
        self._waiting: Context | None = None
        # One whose calls were answered: some models end it then, others go on in it with what is another one.
        self._called: _LiveTurn | None = None

    def hooks(self) -> dict[str, Hook]:
        return {
            "send_client_content": Hook(self.sends_content, failed=self.unsent),
            "send_realtime_input": Hook(self.sends_realtime, failed=self.unsent),
            "send_tool_response": Hook(self.sends_results, failed=self.unsent),
            # What `send`, which is deprecated, makes of what it is given.
            "_parse_client_message": Hook(after=self.sends),
            # What every way to read goes through.
            "_receive": Hook(after=self.received, failed=self.lost),
            "close": Hook(self.closing),
        }

    def turns(self) -> list[Turn]:
        self._end_called()
        turn, self._turn, self._waiting = self._turn, None, None
        return [] if turn is None else [turn]

    def sends_content(self, *, turns: Any = None, turn_complete: bool = True) -> Turn | None:
        """Takes content; whether it is the model's turn with it."""
        self._said.messages += messages.input_messages(calls.contents_of(turns)) if turns else []
        return self._ask() if turn_complete else None

    def sends_results(self, *, function_responses: Any) -> Turn | None:
        """Takes results of functions."""
        given = items(function_responses) or [function_responses]
        parts = [{"function_response": result} for result in given]
        self._said.messages += messages.input_messages({"role": "user", "parts": parts})
        if self._turn is not None and self._turn.called:
            self._called, self._turn = self._turn, None
        return self._ask()

    def sends_realtime(self, *, text: str | None = None, **given: Any) -> Turn | None:
        """Takes a piece of audio or video, or text."""
        for name in ("audio", "video", "media"):
            if (blob := given.get(name)) is not None:
                _count(self._said.media, *_size(blob))
        if text is not None:
            self._said.messages += messages.input_messages(text)
        # With audio alone the server hears by itself when the user has ended.
        return self._ask() if text is not None or given.get("activity_end") is not None else None

    def sends(self, message: Any) -> None:
        """Takes a message as the protocol has it."""
        content, results = field(message, "client_content"), field(message, "tool_response")
        if content is not None:
            self.sends_content(
                turns=field(content, "turns"), turn_complete=bool(field(content, "turn_complete"))
            )
        if results is not None:
            self.sends_results(function_responses=field(results, "function_responses"))
        for blob in items(field(field(message, "realtime_input"), "media_chunks")):
            self.sends_realtime(media=blob)

    def received(self, message: Any) -> None:
        """Takes a message from the server."""
        if self.was_left:
            return
        content, call = field(message, "server_content"), field(message, "tool_call")
        self._hear(field(field(content, "input_transcription"), "text"))
        answers = any(field(content, name) is not None for name in ("model_turn", "output_transcription"))
        if answers or call is not None:
            self._end_called()
        if answers:
            self._answering().take(content)
        if call is not None:
            self._answering().take_call(call)
        turn = self._called or self._turn
        if turn is None:
            return
        turn.usage = field(message, "usage_metadata") or turn.usage
        turn.interrupted = bool(field(content, "interrupted")) or turn.interrupted
        if field(content, "turn_complete"):
            turn.reason = field(content, "turn_complete_reason") or "stop"
            if self._called is not None:
                self._end_called()
            else:
                self._end()

    def lost(self, _: Any, error: BaseException) -> None:
        # The SDK makes an error of its own of a connection that is closed.
        if isinstance(error, Exception):
            self.closed(error)

    def _ask(self) -> Turn | None:
        if self._turn is None:
            self._turn = self._start(None)
            return self._turn
        if self._turn.begun:
            self._waiting = here()
        else:
            self._turn.said.add(self._take())
        return None

    def forget(self, turn: Turn) -> None:
        if turn is self._turn:
            self._turn = None

    def _start(self, context: Context | None) -> _LiveTurn:
        return _LiveTurn(self.start(context), self._take(), self._config)

    def _take(self) -> _Said:
        said, self._said = self._said, _Said()
        return said

    def _answering(self) -> _LiveTurn:
        if self._turn is not None and self._turn.interrupted:
            self._end()
        if self._turn is None:
            self._turn = self._start(None)
        return self._turn

    def _end(self) -> None:
        turn, self._turn = self._turn, None
        waiting, self._waiting = self._waiting, None
        if turn is not None:
            turn.end()
        if waiting is not None:
            self._turn = self._start(waiting)

    def _end_called(self) -> None:
        called, self._called = self._called, None
        if called is not None:
            called.end(at=called.heard_at)

    def _hear(self, text: Any) -> None:
        if text:
            turn = self._turn
            said = self._said if turn is None or turn.was_heard else turn.said
            said.heard.append(text)


def _texts(spoken: list[str], media: _Sizes) -> list[MessagePart]:
    """What was spoken, and how much of each kind of media there was."""
    texts = ["".join(spoken)] if spoken else []
    return [TextPart(text) for text in (*texts, *(f"[{kind}, {size} bytes]" for kind, size in media.items()))]


def _count(sizes: _Sizes, kind: str, size: int) -> None:
    sizes[kind] = sizes.get(kind, 0) + size


def _size(blob: Any) -> tuple[str, int]:
    data = field(blob, "data") or b""
    size = len(data) if isinstance(data, bytes) else len(data) * 3 // 4
    # What is given as an image of PIL has no type; it is sent as one.
    return str(field(blob, "mime_type") or "image").partition(";")[0], size


def _config(given: Any) -> Any:
    from google.genai import types

    return types.LiveConnectConfig.model_validate(given) if isinstance(given, Mapping) else given


def _as_of_content(usage: Any) -> Any:
    """Live's counts under the names that those of `generate_content` have."""
    names = ("prompt_token_count", "tool_use_prompt_token_count", "thoughts_token_count")
    same = (*names, "cached_content_token_count", "prompt_tokens_details", "cache_tokens_details")
    return {
        **{name: field(usage, name) for name in same},
        "candidates_token_count": field(usage, "response_token_count"),
        "candidates_tokens_details": field(usage, "response_tokens_details"),
    }
