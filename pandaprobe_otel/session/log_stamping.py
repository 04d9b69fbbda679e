"""Stamps the session and user on every log record of a provider; OpenTelemetry's logs are loaded with it."""

from typing import Any

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from ..guard import never_raises
from .stamping import stamp_in


class SessionLogRecordProcessor(LogRecordProcessor):
    """Sets `session.id` and `user.id` on every log record of the provider that it is added to.

        logger_provider.add_log_record_processor(SessionLogRecordProcessor())

    Add it before the processor that exports: log processors run in the order in which they were added.
    """

    @never_raises
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Stamps a log record that is emitted."""
        record = log_record.log_record
        attributes: Any = record.attributes
        for key, id in stamp_in(record.context).items():
            if key not in attributes:
                attributes[key] = id

    def shutdown(self) -> None:
        """Does nothing: nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing: nothing is held."""
        return True
