"""What of OpenTelemetry's betas is used without being documented."""

import inspect
from typing import Any

import pytest

from pandaprobe_otel.wrappers._genai import UNDOCUMENTED


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in UNDOCUMENTED.items() for name in names]
)
def test_the_undocumented_names_have_not_moved(module: str, name: str) -> None:
    found: Any = pytest.importorskip(module, reason="the SDK is not installed; `nox -s providers` has it")
    for part in name.split("."):
        missing = not hasattr(found, part) and f"self.{part} " not in inspect.getsource(found)
        assert not missing, f"{module} has no {name} any more: adapt pandaprobe_otel/wrappers/_genai/"
        found = getattr(found, part, None)
