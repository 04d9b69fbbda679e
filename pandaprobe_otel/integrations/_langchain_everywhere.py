# pyright: reportMissingTypeStubs=false
"""Our handler in every run of LangChain in the process, for programs that pass none.

LangChain has a place for such handlers; LangGraph, which tells of interrupts, has none.
"""

from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.tracers.context import register_configure_hook
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

from ..wrappers import _calls
from ._adapter import Adapter
from ._langchain import RunSpans

try:
    from .langgraph import LangGraphCallbackHandler as _Handler
except ImportError:
    from .langchain import LangChainCallbackHandler as _Handler


class _Everywhere:
    """Stands for the context variable that LangChain reads: of all threads, and empty again afterwards."""

    handler: BaseCallbackHandler | None = None
    is_registered = False

    def get(self) -> BaseCallbackHandler | None:
        """The handler that a run is given where it has none of ours."""
        return self.handler


_everywhere = _Everywhere()


class LangChainAdapter(Adapter):
    """Traces the runs that no handler of ours is passed to, in place of the official instrumentation."""

    def _start(self) -> None:
        official = LangChainInstrumentor()
        if official.is_instrumented_by_opentelemetry:
            official.uninstrument()
        _everywhere.handler = _Handler()
        if not _everywhere.is_registered:
            _everywhere.is_registered = True
            variable: Any = _everywhere
            register_configure_hook(variable, inheritable=True, handle_class=RunSpans)
        _calls.wrap_method(BaseCallbackManager, "__init__", _with_handler)

    def _stop(self) -> None:
        _everywhere.handler = None
        _calls.unwrap_method(BaseCallbackManager, "__init__")


def _with_handler(wrapped: Callable[..., Any], manager: Any, args: Any, kwargs: Any) -> None:
    wrapped(*args, **kwargs)
    handler = _everywhere.handler
    of_a_graph = type(manager).__module__ == "langgraph.callbacks"
    if of_a_graph and handler and not any(isinstance(each, RunSpans) for each in manager.handlers):
        manager.add_handler(handler)
