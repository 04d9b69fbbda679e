"""`instrument`: every client of the process instead of one, for code that cannot be changed."""

from importlib import import_module
from importlib.util import find_spec

from ._instrumentor import Instrumentor

# Provider -> the module of its wrapper, the instrumentor there, and what is imported of the SDK.
_PROVIDERS = {
    "anthropic": (".anthropic", "AnthropicInstrumentor", "anthropic"),
    "bedrock": (".bedrock", "BedrockInstrumentor", "boto3"),
    "gemini": (".gemini", "GeminiInstrumentor", "google.genai"),
    "litellm": (".litellm", "LiteLLMInstrumentor", "litellm"),
    "mistral": (".mistral", "MistralInstrumentor", "mistralai"),
    "openai": (".openai", "OpenAIInstrumentor", "openai"),
}


def instrument(*names: str) -> None:
    """Traces the calls of all clients in this process, those included that exist already.

        pandaprobe_otel.wrappers.instrument("openai")

    A client that is wrapped besides still makes one span for a call, with its own labels.

    Args:
        names: Providers, as the extras are called; when none is named, all whose SDK is installed.

    Raises:
        ValueError: For a name that is not one of them.
        ImportError: The extra of a provider that was named is not installed.
    """
    for name in names:
        _instrumentor(name).check_installed()
    for instrumentor in map(_instrumentor, names or _installed()):
        if not instrumentor.is_instrumented_by_opentelemetry and instrumentor.supports_installed():
            instrumentor.instrument(skip_dep_check=True)


def uninstrument(*names: str) -> None:
    """Undoes `instrument`; for all providers when none is named.

    Raises:
        ValueError: For a name that is no provider's.
    """
    for instrumentor in map(_instrumentor, names or _installed()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def _installed() -> list[str]:
    # The SDK is looked for first, since importing one may take seconds.
    return [name for name, (_, _, sdk) in _PROVIDERS.items() if _is_there(sdk) and _is_whole(name)]


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        # The package that it is in is missing too.
        return False


def _is_whole(name: str) -> bool:
    try:
        _instrumentor(name).check_imports()
    except ImportError:
        return False
    return True


def _instrumentor(name: str) -> Instrumentor:
    if name not in _PROVIDERS:
        raise ValueError(f"{name!r} is no provider; known are {', '.join(_PROVIDERS)}")
    module, kind, _ = _PROVIDERS[name]
    return getattr(import_module(module, __package__), kind)()
