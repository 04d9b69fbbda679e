"""What was put around one client, or around a package's classes: made once, replaced, taken away."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from wrapt import register_post_import_hook

from .. import guard
from ..tracing.labels import Labels
from . import _calls
from ._genai import Recorder

C = TypeVar("C")

_MARK = "_pandaprobe_wrapping"


class Wrapping:
    """The methods that were wrapped together.

    Args:
        recorder: Makes their spans.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._undoing: list[Callable[[], object]] = []

    def method(self, target: object, name: str, traced: _calls.Traced) -> None:
        """Puts `traced` around a method of an object or a class."""
        _calls.wrap_method(target, name, traced)
        self.at_undo(lambda: _calls.unwrap_method(target, name))

    def on_first_use(self, client: object, name: str, wrap: Callable[[], None]) -> None:
        """Has an attribute of a client wrapped when something of it is used, since loading it takes long."""
        vars(client)[name] = stand_in = OnFirstUse(client, name, wrap)
        self.at_undo(stand_in.go)

    def when_imported(self, module: str, wrap: Callable[[Any], object]) -> None:
        """Has a module wrapped as the process imports it, or now where it has, unless this is undone by then.

        Args:
            wrap: Is given the module.
        """
        safely = guard.never_raises(wrap)
        wanted = [True]
        self.at_undo(wanted.clear)
        register_post_import_hook(lambda imported: safely(imported) if wanted else None, module)

    def at_undo(self, do: Callable[[], object]) -> None:
        """Has something done when the wrapping is undone; what came last is undone first."""
        self._undoing.append(do)

    def while_it_lasts(self, traced: _calls.Traced) -> _calls.Traced:
        """A tracing function that does nothing once this is undone, for methods that others keep."""

        def call(wrapped: Callable[..., Any], instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
            return traced(wrapped, instance, args, kwargs) if self._undoing else wrapped(*args, **kwargs)

        return call

    def undo(self) -> None:
        """Puts everything back as it was."""
        while self._undoing:
            self._undoing.pop()()


class OnFirstUse:
    """Stands for an attribute of a client until something of it is used."""

    def __init__(self, client: Any, name: str, wrap: Callable[[], None]) -> None:
        self._client = client
        self._name = name
        self._wrap = wrap

    def go(self) -> None:
        """Leaves its place to what it stands for."""
        held = cast("dict[str, Any]", vars(self._client))
        if held.get(self._name) is self:
            del held[self._name]

    def __getattr__(self, name: str) -> Any:
        self.go()
        self._wrap()
        return getattr(getattr(self._client, self._name), name)


@guard.never_raises
def wrap(client: object, scope: str, labels: Labels, fill: Callable[[Wrapping], object]) -> None:
    """Wraps a client that is not wrapped, or was wrapped with other labels; labels left out stay as they are.

    Args:
        scope: The name of the instrumentation scope.
        fill: Wraps the methods.
    """
    held = vars(client).get(_MARK)
    if held is not None:
        if not labels:
            return
        held.undo()
    vars(client)[_MARK] = wrapping = Wrapping(Recorder(scope, labels))
    fill(wrapping)


def unwrap(client: C) -> C:
    """Makes a client as it was before it was wrapped, whichever provider's it is; one that never was stays.

        client = unwrap(client)

    Returns:
        The same client.
    """
    _undo(client)
    return client


@guard.never_raises
def _undo(client: Any) -> None:
    held: dict[str, Any] = getattr(client, "__dict__", {})
    if _MARK in held:
        held.pop(_MARK).undo()
