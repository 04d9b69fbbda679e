"""Adapters for programs without a line about telemetry: each starts when its framework is imported, if it is.

To import a framework only to trace it would cost every program seconds: CrewAI takes six.
"""

from abc import abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from wrapt import register_post_import_hook

from .. import guard
from ._adapter import Adapter


class _Awaiting(BaseInstrumentor):  # pyright: ignore[reportMissingTypeArgument]
    """What is one framework's own: which of its modules is awaited, and the adapter.

    OpenTelemetry's base class makes one object of each subclass, instruments once, and checks the versions.
    """

    version: ClassVar[str]
    """What has to be installed, as a requirement."""
    module: ClassVar[str]
    """The module that is imported by whoever uses the framework."""

    _is_wanted = False
    _adapter: Adapter | None = None

    @abstractmethod
    def make(self) -> Adapter:
        """Imports the adapter, and makes one."""

    def instrumentation_dependencies(self) -> Collection[str]:
        return (self.version,)

    def _instrument(self, **kwargs: Any) -> None:
        self._is_wanted = True
        register_post_import_hook(self._imported, self.module)

    def _uninstrument(self, **kwargs: Any) -> None:
        self._is_wanted = False
        if self._adapter is not None:
            self._adapter.uninstrument()

    @guard.never_raises
    def _imported(self, module: object) -> None:
        if self._is_wanted:
            self._adapter = self.make()
            self._adapter.instrument()


class GoogleADK(_Awaiting):
    """Starts `GoogleADKAdapter`."""

    version = "google-adk >= 2.4, < 3"
    module = "google.adk.runners"

    def make(self) -> Adapter:
        from .google_adk import GoogleADKAdapter

        return GoogleADKAdapter()


class CrewAI(_Awaiting):
    """Starts `CrewAIAdapter`."""

    version = "crewai >= 1.15, < 2"
    module = "crewai"

    def make(self) -> Adapter:
        from .crewai import CrewAIAdapter

        return CrewAIAdapter()


class ClaudeAgentSDK(_Awaiting):
    """Starts `ClaudeAgentSDKAdapter`."""

    version = "claude-agent-sdk >= 0.2, < 1"
    module = "claude_agent_sdk"

    def make(self) -> Adapter:
        from .claude_agent_sdk import ClaudeAgentSDKAdapter

        return ClaudeAgentSDKAdapter()
