# pyright: reportMissingTypeStubs=false
"""What an official instrumentation returns, made safe: its streams, and what gives one later."""

from typing import Any, cast

from opentelemetry.util.genai.stream import (
    AsyncStreamManagerWrapper,
    AsyncStreamWrapper,
    SyncStreamManagerWrapper,
    SyncStreamWrapper,
)
from wrapt import ObjectProxy

from .managers import AsyncManager, Manager, follow_manager
from .raw import Raw, follow_raw
from .streams import Hooks, Reads, follow_stream

# What was made safe before.
_SAFE = {Hooks, Manager, AsyncManager, Raw}


def follow(result: Any, reads: Reads) -> Any:
    """What an official instrumentation returned, made safe if it is a stream or gives one later."""
    kind = cast("type[Any]", type(result))
    if kind is dict:
        # An answer of boto has its stream under a name.
        for name, value in result.items():
            result[name] = follow(value, reads)
        return result
    # Not isinstance: it asks a proxy for the class of what it wraps.
    bases = set(kind.__mro__)
    if ObjectProxy not in bases or not bases.isdisjoint(_SAFE):
        return result
    if not bases.isdisjoint({SyncStreamWrapper, AsyncStreamWrapper}):
        return follow_stream(result, reads)
    if not bases.isdisjoint({SyncStreamManagerWrapper, AsyncStreamManagerWrapper}):
        return follow_manager(result, reads)
    if hasattr(kind, "read"):
        # The body of aiobotocore, which ends its span when it is read.
        result._self_invocation.suspend()
    elif hasattr(kind, "parse"):
        return follow_raw(result, reads)
    return result
