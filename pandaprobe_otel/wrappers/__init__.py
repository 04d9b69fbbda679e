"""Clients of model providers, wrapped one by one: each call becomes a span of the session it is made in."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .openai import unwrap_openai, wrap_openai

__all__ = ["unwrap_openai", "wrap_openai"]

# A provider's SDK is imported with its wrapper, not before.
_HOME = {"wrap_openai": ".openai", "unwrap_openai": ".openai"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
