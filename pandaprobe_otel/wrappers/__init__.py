"""Clients of model providers: each call becomes a span of the session it is made in.

One client at a time with `wrap_openai` and its like, or all of the process with `instrument`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._process import instrument, uninstrument
    from ._wrapping import unwrap
    from .anthropic import wrap_anthropic
    from .bedrock import wrap_bedrock
    from .gemini import wrap_gemini
    from .litellm import wrap_litellm
    from .mistral import wrap_mistral
    from .openai import wrap_openai

__all__ = [
    "instrument",
    "uninstrument",
    "unwrap",
    "wrap_anthropic",
    "wrap_bedrock",
    "wrap_gemini",
    "wrap_litellm",
    "wrap_mistral",
    "wrap_openai",
]

# A provider's SDK is imported with its wrapper, not before.
_HOME = {
    "instrument": "._process",
    "uninstrument": "._process",
    "unwrap": "._wrapping",
    "wrap_anthropic": ".anthropic",
    "wrap_bedrock": ".bedrock",
    "wrap_gemini": ".gemini",
    "wrap_litellm": ".litellm",
    "wrap_mistral": ".mistral",
    "wrap_openai": ".openai",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
