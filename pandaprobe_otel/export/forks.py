"""What a forked child must not share with its parent, told when it forks."""

import os
from collections.abc import Callable
from weakref import WeakSet


class Forked:
    """Something that is told of forks."""

    def before_fork(self) -> None:
        """Called in the thread that forks."""

    def after_fork_in_parent(self) -> None:
        """Called in that thread, when it goes on."""

    def after_fork_in_child(self) -> None:
        """Called in the child, before it does anything else."""


_watching: "WeakSet[Forked]" = WeakSet()


def tell_of_forks(to: Forked) -> None:
    """Calls `to` at every fork, for as long as it lives."""
    _watching.add(to)


def _each(method: Callable[[Forked], None]) -> Callable[[], None]:
    def call() -> None:
        for one in list(_watching):
            method(one)

    return call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each(lambda one: one.before_fork()),
        after_in_parent=_each(lambda one: one.after_fork_in_parent()),
        after_in_child=_each(lambda one: one.after_fork_in_child()),
    )
