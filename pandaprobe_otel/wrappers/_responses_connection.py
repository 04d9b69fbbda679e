"""OpenAI's Responses over a WebSocket: one span for each response, whose events are those of a stream."""

from typing import Any

from . import _responses
from ._chat_messages import field, items
from ._connections import EventsWatch
from ._genai.parts import InferenceInvocation
from ._realtime import reported
from ._turns import Turn

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class _Response(Turn):
    _reader: _responses.ResponseReader | None = None

    def __init__(self, invocation: InferenceInvocation | None, asked: Any) -> None:
        super().__init__(invocation)
        self.asked = asked
        # Those of several at once are told apart by their lane.
        self.lane = field(asked, "stream_id")
        self.was_created = False
        if invocation is not None:
            self._reader = _responses.ResponseReader(invocation)

    def take(self, event: Any) -> None:
        """Takes an event of the response."""
        self.error = None
        if self._reader is not None and self._reader.read(event):
            self.begin()

    def tell(self, invocation: InferenceInvocation) -> None:
        _responses.put_request(invocation, self.asked)
        invocation.previous_response_id = field(self.asked, "previous_response_id")
        if self._reader is not None:
            self._reader.tell(invocation)


class ResponsesWatch(EventsWatch):
    """Makes spans of the responses of one connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: list[_Response] = []
        # What the user said into a response, which the server answers with another one by itself.
        self._steering: list[Any] = []
        self._last: Any = None

    def turns(self) -> list[Turn]:
        found, self._open = self._open, []
        return [*found]

    def forget(self, turn: Turn) -> None:
        self._open = [one for one in self._open if one is not turn]

    def sent(self, message: Any) -> Turn | None:
        with self.lock:
            match field(message, "type"):
                case "response.create":
                    return self._ask(message)
                case "response.steer":
                    given = field(message, "input")
                    self._steering += items(given) or [{"role": "user", "content": given}]
                case _:
                    pass
        return None

    def take(self, event: Any) -> None:
        kind, lane = str(field(event, "type")), field(event, "stream_id")
        response = next((one for one in self._open if one.lane == lane), None)
        if kind == "response.created" and (response is None or response.was_created) and not self.was_left:
            response = self._ask(self._of_steering(lane))
        if response is None:
            return
        if kind == "error":
            self.forget(response)
            response.end(reported(field(event, "error") or event))
            return
        response.was_created = response.was_created or kind == "response.created"
        response.take(event)
        if kind in _ENDS:
            self.forget(response)
            failed = field(field(event, "response"), "error")
            response.end(None if failed is None else reported(failed))

    def _ask(self, asked: Any) -> _Response:
        self.model = field(asked, "model")
        self._last = asked
        response = _Response(self.start(), asked)
        self._open.append(response)
        return response

    def _of_steering(self, lane: Any) -> dict[str, Any]:
        said, self._steering = self._steering, []
        same = {name: field(self._last, name) for name in ("model", "instructions", "tools")}
        return {**same, "input": said, "stream_id": lane}
