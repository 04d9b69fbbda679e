"""One provider's SDK, traced for the whole process."""

import logging
from abc import abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from .. import guard
from ._genai import Recorder
from ._wrapping import Wrapping

_logger = logging.getLogger("pandaprobe_otel.wrappers")


class Instrumentor(BaseInstrumentor):  # pyright: ignore[reportMissingTypeArgument]
    """What is one provider's own: how its classes are wrapped, and which versions are known to work.

    OpenTelemetry's base class makes one object of each subclass, instruments once, and checks the versions.
    """

    name: ClassVar[str]
    """The provider's name, and that of the extra."""
    scope: ClassVar[str]
    """The name of the instrumentation scope."""
    versions: ClassVar[tuple[str, ...]]
    """What has to be installed, as requirements."""

    _wrapping: Wrapping | None = None

    @abstractmethod
    def check_imports(self) -> None:
        """Imports what the extra brings; raises ImportError where that is missing."""

    @abstractmethod
    def fill(self, wrapping: Wrapping) -> None:
        """Wraps the methods of the SDK's classes, or its functions."""

    def check_installed(self) -> None:
        """Raises ImportError, with the command that mends it, when the extra is not installed."""
        try:
            self.check_imports()
        except ImportError as error:
            raise ImportError(
                f"tracing {self.name} needs packages that are not installed: "
                f"pip install 'pandaprobe-otel[{self.name}]'"
            ) from error

    def supports_installed(self) -> bool:
        """Whether a version is installed that is known to work; says so once where another one is."""
        conflict = get_dependency_conflicts(self.versions)
        if conflict is not None and conflict.found is not None:
            guard.warn_once(
                _logger,
                f"version of {self.name}",
                "%s is not traced: %s. Upgrade pandaprobe-otel, or install a version that it knows.",
                self.name,
                conflict,
            )
        return conflict is None

    def instrumentation_dependencies(self) -> Collection[str]:
        return self.versions

    def _instrument(self, **kwargs: Any) -> None:
        # `opentelemetry-instrument` does not ask before whether the SDK is there.
        if self.supports_installed():
            self._wrapping = Wrapping(Recorder(self.scope))
            guard.never_raises(self.fill)(self._wrapping)

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._wrapping is not None:
            self._wrapping.undo()
