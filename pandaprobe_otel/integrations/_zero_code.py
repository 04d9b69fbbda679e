"""Adapters for programs without a line about telemetry: each starts when its framework is imported, if it is.

To import a framework only to trace it would cost every program seconds: CrewAI takes six.
"""

import os
from abc import abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from wrapt import register_post_import_hook

from .. import guard, runtime
from ._adapter import Adapter


class _Awaiting(BaseInstrumentor):  # pyright: ignore[reportMissingTypeArgument]
    """What is one framework's own: which of its modules is awaited, and the adapter.

    OpenTelemetry's base class makes one object of each subclass, instruments once, and checks the versions.
    """

    needs: ClassVar[tuple[str, ...]]
    """What has to be installed, as requirements."""
    module: ClassVar[str]
    """The module that is imported by whoever uses the framework."""

    official: ClassVar[str | None] = None
    """The official instrumentation whose place it takes, by the name that users disable it by."""

    _is_wanted = False
    _adapter: Adapter | None = None

    @abstractmethod
    def make(self) -> Adapter:
        """Imports the adapter, and makes one."""

    def instrumentation_dependencies(self) -> Collection[str]:
        return self.needs

    def _instrument(self, **kwargs: Any) -> None:
        self._is_wanted = True
        if self.official is None:
            self._wait()
        else:
            # It could not take the place of what begins after it.
            runtime.begin_last(self._begin_last)

    @guard.never_raises
    def _begin_last(self) -> None:
        disabled = os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")
        # Where PandaProbe gets nothing, others keep what they have, and nothing is said.
        is_on = runtime.active() is not None and runtime.enabled()
        if is_on and self.official not in {name.strip() for name in disabled}:
            self._wait()

    def _wait(self) -> None:
        """Starts the adapter when the framework is imported."""
        register_post_import_hook(self._imported, self.module)

    def _uninstrument(self, **kwargs: Any) -> None:
        self._is_wanted = False
        if self._adapter is not None:
            self._adapter.uninstrument()

    @guard.never_raises
    def _imported(self, module: object) -> None:
        # A module of the program's own may have the same name.
        if self._is_wanted and get_dependency_conflicts(self.instrumentation_dependencies()) is None:
            self._adapter = self.make()
            self._adapter.instrument()


class GoogleADK(_Awaiting):
    """Starts `GoogleADKAdapter`."""

    needs = ("google-adk >= 2.4, < 3",)
    module = "google.adk.runners"

    def make(self) -> Adapter:
        from .google_adk import GoogleADKAdapter

        return GoogleADKAdapter()


class CrewAI(_Awaiting):
    """Starts `CrewAIAdapter`."""

    needs = ("crewai >= 1.15, < 2",)
    module = "crewai"

    def make(self) -> Adapter:
        from .crewai import CrewAIAdapter

        return CrewAIAdapter()


class ClaudeAgentSDK(_Awaiting):
    """Starts `ClaudeAgentSDKAdapter`."""

    needs = ("claude-agent-sdk >= 0.2, < 1",)
    module = "claude_agent_sdk"

    def make(self) -> Adapter:
        from .claude_agent_sdk import ClaudeAgentSDKAdapter

        return ClaudeAgentSDKAdapter()


class LangChain(_Awaiting):
    """Has `LangGraphCallbackHandler`, or that of LangChain, in every run."""

    needs = ("langchain-core >= 1, < 2", "opentelemetry-instrumentation-genai-langchain >= 1.3b0, < 2")
    module = "langchain_core.callbacks"
    official = "langchain"

    def make(self) -> Adapter:
        from ._langchain_everywhere import LangChainAdapter

        return LangChainAdapter()


class OpenAIAgents(_Awaiting):
    """Starts `OpenAIAgentsAdapter`."""

    needs = ("openai-agents >= 0.20, < 1", "opentelemetry-instrumentation-genai-openai >= 1.3b0, < 2")
    module = "agents"
    official = "openai_agents"

    def make(self) -> Adapter:
        from .openai_agents import OpenAIAgentsAdapter

        return OpenAIAgentsAdapter()
