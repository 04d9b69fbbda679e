"""Clients that Stainless generates, openai's and anthropic's: resources, their views, copies of a client."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, cast
from weakref import WeakSet

from .. import guard
from . import _calls
from ._wrapping import OnFirstUse, Wrapping

# Resource -> method -> the name of what traces it.
Surface = Mapping[str, Mapping[str, str]]
# By such a name; None for what cannot be traced.
Tracers = Callable[[str], _calls.Traced | None]

# What the SDK caches of the methods of resources.
_VIEWS = ("with_raw_response", "with_streaming_response")
# Methods that make a changed copy of a client.
_COPIERS = ("copy", "with_options")
# What takes long to load: 0.7 s and 0.15 s with openai 3.
_SLOW = ("beta", "realtime")


def wrap_client(
    client: Any, surface: Surface, wrapping: Wrapping, tracers: Tracers, wrap_copy: Callable[[Any], object]
) -> None:
    """Wraps the methods of a client's resources.

    Args:
        wrap_copy: Wraps a copy that the client makes of itself.
    """

    def wrap_all(paths: Iterable[str]) -> None:
        for path in paths:
            _wrap_resource(client, path, surface[path], wrapping, tracers)

    now = set(surface)
    for slow in _SLOW:
        later = {path for path in surface if path.partition(".")[0] == slow}
        if later and _calls.is_uncached(client, slow):
            now -= later
            wrapping.on_first_use(client, slow, partial(wrap_all, later))
    wrap_all(now)

    wrap_safely = guard.never_raises(wrap_copy)

    def copied(wrapped: Any, _: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        copy = wrapped(*args, **kwargs)
        wrap_safely(copy)
        return copy

    for name in _COPIERS:
        wrapping.method(client, name, copied)
    _forget_views(client, surface)
    wrapping.at_undo(lambda: _forget_views(client, surface))


def wrap_classes(
    clients: Iterable[type[Any]],
    homes: Mapping[str, str],
    surface: Surface,
    wrapping: Wrapping,
    tracers: Tracers,
) -> None:
    """Wraps the methods of the classes of resources, for the whole process, as these are imported.

    Args:
        clients: The classes of clients.
        homes: Resource -> its class and module, as "Completions openai.resources.chat.completions"; the async
            one has `Async` in front.
    """
    for client in clients:
        _renew_views(client, wrapping)
    for path, home in homes.items():
        name, module = home.split()
        wrapping.when_imported(module, partial(_wrap_classes, name, surface[path], wrapping, tracers))


def _wrap_classes(
    name: str, methods: Mapping[str, str], wrapping: Wrapping, tracers: Tracers, module: Any
) -> None:
    for prefix, patches in (("", ""), ("Async", "async_")):
        resource = getattr(module, prefix + name)
        _renew_views(resource, wrapping)
        for method, patch in methods.items():
            if hasattr(resource, method) and (traced := tracers(patches + patch)):
                # Clients cache views of it (`with_raw_response`).
                wrapping.method(resource, method, wrapping.while_it_lasts(traced))


def _renew_views(holder: type[Any], wrapping: Wrapping) -> None:
    for name in _VIEWS:
        view: Any = vars(holder).get(name)
        if isinstance(view, cached_property):
            setattr(holder, name, _Renewed(name, view))
            wrapping.at_undo(partial(setattr, holder, name, view))


class _Renewed:
    """A cached property that drops once what each object has of before."""

    def __init__(self, name: str, view: Any) -> None:
        self._name = name
        self._view = view
        self._renewed: WeakSet[Any] = WeakSet()

    def __get__(self, holder: Any, kind: Any = None) -> Any:
        if holder is None:
            return self._view
        self._renew(holder)
        return self._view.__get__(holder, kind)

    def __set__(self, holder: Any, value: Any) -> None:
        # Has it go before what the object holds.
        vars(holder)[self._name] = value

    @guard.never_raises
    def _renew(self, holder: Any) -> None:
        if holder not in self._renewed:
            cast("dict[str, Any]", vars(holder)).pop(self._name, None)
            self._renewed.add(holder)


def server(resource: Any) -> tuple[str | None, int | None]:
    """Where a resource's client sends its requests; unknown where the user put a function in its place."""
    url = getattr(getattr(resource, "_client", None), "base_url", None)
    return getattr(url, "host", None), getattr(url, "port", None)


@guard.never_raises
def _wrap_resource(
    client: Any, path: str, methods: Mapping[str, str], wrapping: Wrapping, tracers: Tracers
) -> None:
    resource = client
    for name in path.split("."):
        resource = getattr(resource, name, None)
    for method, patch in methods.items():
        # Old versions lack some.
        if hasattr(resource, method) and (traced := tracers(patch)):
            wrapping.method(resource, method, traced)


def _forget_views(client: object, surface: Surface) -> None:
    for path in surface:
        node = client
        for name in ("", *path.split(".")):
            node = vars(node).get(name) if name else node
            if node is None or isinstance(node, OnFirstUse):
                break
            _calls.forget_cached(node, *_VIEWS)
