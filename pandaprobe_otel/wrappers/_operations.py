"""Operations that ask once and answer once, beside the conversations with a model: one row for each.

Images, speech and transcriptions are calls of a model. Counting tokens, moderating and reading documents are
none, and are not counted as such: they say another kind, and no tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..attributes import PANDAPROBE_INPUT, PANDAPROBE_OUTPUT, PANDAPROBE_SPAN_KIND, SpanKind
from ..tracing.values import to_json
from . import _genai, _spans
from ._calls import Kwargs
from ._chat_messages import field
from ._genai.parts import InferenceInvocation, InputMessage, MessagePart, OutputMessage, TextPart
from ._media import field_without_media, without_media

# Gives the provider, its address and port, from the object that a method belongs to and the parameters.
Server = Callable[[Any, Kwargs], tuple[str, str | None, int | None]]


@dataclass(frozen=True)
class Operation:
    """One operation of an SDK.

    Args:
        name: Its `gen_ai.operation.name`.
        asked: Parameters of a call that are its input.
        told: Fields of an answer that are its output.
        output_type: Its `gen_ai.output.type`, where the answer is made by a model.
        parameters: Parameters to note beside the input.
        kind: What it is where it is no call of a model.
    """

    name: str
    asked: tuple[str, ...]
    told: tuple[str, ...]
    output_type: str | None = None
    parameters: tuple[str, ...] = ()
    kind: SpanKind | None = None


def shape(operation: Operation, server: Server) -> _spans.Shape:
    """How the calls of an operation read."""
    return _spans.Shape(
        partial(_start, operation, server),
        partial(_ask, operation),
        partial(_answer, operation),
        partial(_EventReader, operation),
    )


def _start(
    operation: Operation, server: Server, handler: _genai.TelemetryHandler, resource: Any, request: Kwargs
) -> InferenceInvocation:
    provider, address, port = server(resource, request)
    model = field(request, "model")
    return handler.inference(
        provider,
        request_model=None if model is None else str(model),
        operation_name=operation.name,
        server_address=address,
        server_port=port,
    )


def _ask(operation: Operation, invocation: InferenceInvocation, request: Kwargs) -> None:
    if operation.kind is not None:
        # First, so that no fault below makes a model call of it.
        invocation.attributes[PANDAPROBE_SPAN_KIND] = operation.kind.value
    invocation.output_type = operation.output_type
    _spans.put_parameters(
        invocation, without_media({name: field(request, name) for name in operation.parameters})
    )
    if not invocation.should_capture_content:
        return
    asked = _named(request, operation.asked)
    if operation.kind is not None:
        invocation.attributes[PANDAPROBE_INPUT] = to_json(asked)
    else:
        invocation.input_messages = [InputMessage(role="user", parts=_parts(asked))]


def _answer(operation: Operation, invocation: InferenceInvocation, answer: Any) -> None:
    if isinstance(model := field(answer, "model"), str):
        invocation.response_model_name = model
    if isinstance(id := field(answer, "id"), str):
        invocation.response_id = id
    if operation.kind is None:
        usage = field(answer, "usage")
        invocation.input_tokens = _count(usage, "input_tokens", "prompt_tokens")
        invocation.output_tokens = _count(usage, "output_tokens", "completion_tokens")
    if not invocation.should_capture_content or answer is None:
        return
    told = _named(answer, operation.told)
    if operation.kind is not None:
        invocation.attributes[PANDAPROBE_OUTPUT] = to_json(told)
    elif parts := _parts(told):
        invocation.output_messages = [OutputMessage(role="assistant", parts=parts)]


class _EventReader:
    """Reads an answer that comes in events: pieces of its text, and the whole of it in the last."""

    def __init__(self, operation: Operation, _: InferenceInvocation) -> None:
        self._operation = operation
        self._begun = False
        self._last: Any = None
        self._pieces: list[str] = []

    def read(self, chunk: Any) -> bool:
        """Takes an event; whether the answer has begun with it, or before."""
        # Mistral's events carry theirs in a field.
        event = field(chunk, "data") or chunk
        kind = str(field(event, "type") or "")
        if kind.endswith((".delta", ".partial_image")):
            self._begun = True
            piece = field(event, "delta") or field(event, "text")
            if isinstance(piece, str):
                self._pieces.append(piece)
        elif kind.endswith((".done", ".completed")):
            self._last = event
        return self._begun

    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes the whole answer, or the text of one that was broken off."""
        last: Any = self._last
        if last is None and self._pieces:
            last = {"text": "".join(self._pieces)}
        _answer(self._operation, invocation, last)


def _named(held: Any, names: tuple[str, ...]) -> Any:
    if isinstance(held, str):
        # A transcription as plain text.
        return {"text": held}
    if not any(field(held, name) is not None for name in names):
        # The whole of an answer that is bytes, as speech is.
        whole = without_media(held)
        return {"content": whole} if isinstance(whole, str) and whole.startswith("[") else {}
    return {
        name: field_without_media(name, value) for name in names if (value := field(held, name)) is not None
    }


def _parts(named: dict[str, Any]) -> list[MessagePart]:
    """Texts as they are, and what else there is as JSON."""
    return [TextPart(value if isinstance(value, str) else to_json(value)) for value in named.values()]


def _count(usage: Any, *names: str) -> int | None:
    counts = (field(usage, name) for name in names)
    return next((count for count in counts if isinstance(count, int)), None)
