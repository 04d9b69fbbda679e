# What it stands on stops at OpenTelemetry 1.44, so it is not there where types are checked.
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""`GoogleADKAdapter`: runs of Google's Agent Development Kit, in their session.

ADK makes GenAI spans itself: workflow, agents, model calls and tools. What it leaves to others is the session
that they belong to, and the messages on them, which it records when a run asks for them.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import get_current_span

from .. import guard, runtime
from ..session.decorating import Block, decorate
from ..session.identity import Frame
from ..wrappers import _calls
from ._adapter import Adapter

try:
    from google.adk.agents.run_config import RunConfig
    from google.adk.plugins.plugin_manager import PluginManager
    from google.adk.runners import Runner
    from google.adk.telemetry.context import ContentCapturingMode as Content
    from google.adk.telemetry.context import TelemetryConfig
except ImportError as error:
    raise ImportError(
        "GoogleADKAdapter needs google-adk from 2.4: pip install 'pandaprobe-otel[google-adk]'"
    ) from error

_RUNS = ("run_async", "run_live")
_FIRST = "run_before_run_callback"
# OpenTelemetry's variable, which ADK reads too.
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class GoogleADKAdapter(Adapter):
    """Has every run of every ADK `Runner` in the session that ADK itself knows it by.

        GoogleADKAdapter().instrument()
        runner.run(user_id="user-42", session_id="conversation-123", new_message=question)

    A `session()` block around the run is stronger than ADK's session, and `session_id` than both. Messages
    are recorded unless `RunConfig.telemetry`, `PANDAPROBE_CAPTURE_CONTENT` or OpenTelemetry's own variable
    says otherwise.
    """

    def _start(self) -> None:
        for name in _RUNS:
            _calls.wrap_method(Runner, name, self._run)
        # The first that ADK does inside the span of a run.
        _calls.wrap_method(PluginManager, _FIRST, self._label)

    def _stop(self) -> None:
        for name in _RUNS:
            _calls.unwrap_method(Runner, name)
        _calls.unwrap_method(PluginManager, _FIRST)

    def _run(self, wrapped: Callable[..., Any], runner: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if not runtime.enabled():
            return wrapped(*args, **kwargs)
        config = _with_messages(kwargs.get("run_config"))
        if config is not None:
            kwargs["run_config"] = config
        return decorate(wrapped, self._held)(*args, **kwargs)

    def _held(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Block:
        return _Held(self._frame(kwargs))

    @guard.never_raises
    def _frame(self, kwargs: Mapping[str, Any]) -> Frame | None:
        # `run_live` may be given ADK's session itself.
        session = kwargs.get("session")
        session_id = kwargs.get("session_id") or getattr(session, "id", None)
        user_id = kwargs.get("user_id") or getattr(session, "user_id", None)
        return self._labels.frame(session_id, user_id)

    async def _label(self, wrapped: Callable[..., Any], manager: Any, args: Any, kwargs: Any) -> Any:
        self._labels.put_on(get_current_span())
        return await wrapped(*args, **kwargs)


class _Held:
    """A frame around a run."""

    def __init__(self, frame: Frame | None) -> None:
        self._frame = frame

    def __enter__(self) -> None:
        if self._frame is not None:
            self._frame.enter()

    def __exit__(self, *_: object) -> None:
        if self._frame is not None:
            self._frame.leave()

    def returned(self, value: Any) -> None:
        """A run returns nothing."""

    def yielded(self, item: Any) -> None:
        """What ADK tells of a run is on its spans already."""


@guard.never_raises
def _with_messages(config: Any) -> Any:
    """The run's configuration, by which ADK puts messages on its spans where nobody has said otherwise."""
    config = config or RunConfig()
    given = config.telemetry
    wanted: dict[str, Any] = {"genai_semconv_stability_opt_in": "experimental"}
    if not os.environ.get(_CAPTURE, "").strip():
        content = Content.SPAN_ONLY if runtime.captures_content() else Content.NO_CONTENT
        wanted["capture_message_content"] = content
    if given is not None:
        wanted |= given.model_dump(exclude_none=True)
    return config.model_copy(update={"telemetry": TelemetryConfig(**wanted)})
