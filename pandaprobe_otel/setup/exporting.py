"""The exporter that users give to a span processor of their own."""

from typing_extensions import Unpack

from ..export import exporter
from ..session.stamping import unseen
from ..settings import SettingsKeywords


class PandaProbeSpanExporter(exporter.PandaProbeSpanExporter):
    """Sends ended spans to PandaProbe; for a span processor of your own.

        exporter = PandaProbeSpanExporter(api_key="sk_pp_…", project_name="support-agent")
        provider.add_span_processor(BatchSpanProcessor(exporter))

    What it is given it writes to the spool at once; a thread of its own sends it from there. The session of a
    span arrives, also where the span has lost it to its limit of attributes or only PandaProbe is to see it.

    Args:
        settings: As for `init`. What is exported is up to the processor: `export` and `session_sample_rate`
            hold for that of `init`.

    Raises:
        TypeError: For a setting that does not exist.
        ValueError: For a value that cannot be read.
    """

    def __init__(self, **settings: Unpack[SettingsKeywords]) -> None:
        super().__init__(unseen=unseen, **settings)
