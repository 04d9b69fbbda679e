"""Answers of interactions, whole or in events: what goes on their spans."""

from collections import Counter
from typing import Any

from .._chat_messages import field, items
from .._genai.parts import Error, InferenceInvocation, OutputMessage
from . import steps

# Why an interaction ended, in the conventions' words; one that goes on has no reason yet.
_FINISH_REASONS = {
    "completed": "stop",
    "requires_action": "tool_calls",
    "requires_continuation": "length",
    "incomplete": "length",
    "budget_exceeded": "length",
    "failed": "error",
    "cancelled": "error",
}
# What comes before the answer where an interaction lists it too.
_ASKED = ("user_input", "function_result")
# Deltas that only mark what others bring.
_MARKS = ("thought_signature", "text_annotation")


def answer(invocation: InferenceInvocation, interaction: Any) -> None:
    """Writes an answer that came whole; one of `with_raw_response` comes as its JSON."""
    reader = Reader(invocation)
    reader.read({"interaction": interaction})
    reader.tell(invocation)


class Reader:
    """Reads an answer whose events tell of its steps, and of the interaction that they are of.

    Where a model stops at the limit of one request, the SDK goes on by another one, whose events follow.
    """

    def __init__(self, invocation: InferenceInvocation) -> None:
        self._keeps_content = invocation.should_capture_content
        self._begun = False
        self._last: dict[str, Any] = {}
        # Each request counts for itself.
        self._usages: dict[Any, Any] = {}
        self._whole: list[Any] = []
        self._steps: dict[Any, _Step] = {}
        self._error: Any = None

    def read(self, chunk: Any) -> bool:
        """Takes an event; whether the answer has begun with it, or before."""
        event = steps.known(chunk)
        interaction = field(event, "interaction")
        for name in ("id", "model", "status", "errors"):
            if (value := field(interaction, name)) is not None:
                self._last[name] = value
        self._last["status"] = field(event, "status") or self._last.get("status")
        told = field(interaction, "usage") or field(field(event, "metadata"), "total_usage")
        if told is not None:
            self._usages[self._last.get("id")] = told
        self._error = field(event, "error") or self._error
        if self._keeps_content:
            self._whole = _answered(interaction) or self._whole
        self._read_step(event)
        return self._begun

    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes what was read."""
        status = str(self._last.get("status"))
        reason = _FINISH_REASONS.get(status)
        invocation.response_id = self._last.get("id")
        invocation.response_model_name = self._last.get("model")
        invocation.finish_reasons = [reason] if reason else []
        _put_usage(invocation, list(self._usages.values()))
        told = [step.told() for step in self._steps.values()] or self._whole
        parts = [part for step in told for part in steps.step_parts(step)]
        if parts:
            invocation.output_messages = [OutputMessage(role="assistant", parts=parts, finish_reason=reason)]
        if self._error or status == "failed":
            # What the SDK hands on as an answer.
            found = (self._error, *items(self._last.get("errors")), *(field(step, "error") for step in told))
            error = next((one for one in found if one), None)
            message, code = field(error, "message"), field(error, "code")
            invocation.fail(Error(message=message or status, type=str(code or status)))

    def _read_step(self, event: Any) -> None:
        delta, begin = field(event, "delta"), field(event, "step") or field(event, "content")
        if delta is None and begin is None:
            return
        kind = steps.kind_of(steps.known(begin if delta is None else delta))
        if delta is None:
            brings = bool(steps.step_parts(begin))
        else:
            brings = kind not in _MARKS and (kind != "text" or bool(field(delta, "text")))
        self._begun = self._begun or brings
        if self._keeps_content and kind not in _MARKS:
            key = self._last.get("id"), field(event, "index")
            step = self._steps.setdefault(key, _Step())
            step.begin(begin) if delta is None else step.add(steps.known(delta))


class _Step:
    """One step of which each event brings a piece."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._contents: list[Any] = []
        self._pieces: list[str] = []
        self._arguments: list[str] = []

    def begin(self, given: Any) -> None:
        """Takes what a step is begun with."""
        step = steps.known(given)
        if _is_content(step):
            self._add_content(step)
            return
        self._take(step)
        for held in (*items(field(step, "content")), *items(field(step, "summary"))):
            self._add_content(steps.known(held))

    def add(self, delta: Any) -> None:
        """Takes a piece."""
        kind = steps.kind_of(delta)
        if kind == "thought_summary":
            self._fields.setdefault("type", "thought")
            self._add_content(steps.known(field(delta, "content")))
        elif kind == "arguments_delta":
            self._arguments.append(field(delta, "arguments") or "")
        elif _is_content(delta):
            self._add_content(delta)
        else:
            self._take(delta)

    def told(self) -> dict[str, Any]:
        """The step as it is when it comes whole."""
        self._join()
        fields = {"type": "model_output", **self._fields}
        if self._arguments:
            fields["arguments"] = "".join(self._arguments)
        return {**fields, "content": self._contents, "summary": self._contents}

    def _take(self, given: Any) -> None:
        for name in ("type", "id", "call_id", "name", "arguments", "result", "error"):
            if (value := field(given, name)) is not None:
                self._fields[name] = value

    def _add_content(self, content: Any) -> None:
        if steps.kind_of(content) == "text":
            self._pieces.append(field(content, "text") or "")
        else:
            self._join()
            self._contents.append(content)

    def _join(self) -> None:
        if text := "".join(self._pieces):
            self._contents.append({"type": "text", "text": text})
        self._pieces = []


def _is_content(given: Any) -> bool:
    kind = steps.kind_of(given)
    return kind == "text" or kind in steps.MEDIA


def _answered(interaction: Any) -> list[Any]:
    """The steps of an interaction that answer what was asked last."""
    told = items(field(interaction, "steps")) or items(field(interaction, "outputs"))
    asked = [index for index, step in enumerate(told) if steps.kind_of(step) in _ASKED]
    return told[asked[-1] + 1 :] if asked else told


def _put_usage(invocation: InferenceInvocation, usages: list[Any]) -> None:
    # Of the same kind in the conventions: what a tool's result took is input, what thinking took is output.
    invocation.input_tokens = _sum(usages, "total_input_tokens", "total_tool_use_tokens")
    invocation.output_tokens = _sum(usages, "total_output_tokens", "total_thought_tokens")
    invocation.thinking_tokens = _sum(usages, "total_thought_tokens")
    invocation.cache_read_input_tokens = _sum(usages, "total_cached_tokens")
    invocation.set_input_tokens(_by_modality(usages, "input_tokens_by_modality"))
    invocation.set_output_tokens(_by_modality(usages, "output_tokens_by_modality"))
    invocation.set_cache_read_input_tokens(_by_modality(usages, "cached_tokens_by_modality"))


def _sum(usages: list[Any], *names: str) -> int | None:
    counts = [count for usage in usages for name in names if (count := field(usage, name)) is not None]
    return sum(counts) if counts else None


def _by_modality(usages: list[Any], name: str) -> list[tuple[str, int | None]] | None:
    counted: Counter[str] = Counter()
    for usage in usages:
        for item in items(field(usage, name)):
            counted[str(field(item, "modality"))] += field(item, "tokens") or 0
    return list(counted.items()) or None
