"""Says whether a span would arrive, and what to do where it would not: `pandaprobe-otel doctor`."""

from .examination import examine
from .report import Report

__all__ = ["Report", "examine"]
