"""Celery's tasks: each runs in the session that it was sent in, and what it sets ends with it.

While OpenTelemetry's own instrumentation of Celery is active, the context is left to it.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from ..guard import never_raises
from .children import carrier, join_trace
from .decorating import Step
from .identity import Source, ambient, ids_in, put_back
from .scope import hold

_OFFICIAL = "opentelemetry.instrumentation.celery"
# Of a message.
_HEADER = "pandaprobe"

# What ends the tasks that run.
_running: dict[str, Callable[[], None]] = {}


def carry_into_celery() -> None:
    """Switches it on, for the whole process; also where Celery is imported later."""
    from wrapt import register_post_import_hook

    register_post_import_hook(_connect, "celery.signals")


def _connect(signals: Any) -> None:
    for signal, receiver in (
        (signals.before_task_publish, _sends),
        (signals.task_prerun, _begins),
        (signals.task_postrun, _ends),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"pandaprobe {receiver.__name__}")


@never_raises
def _sends(headers: Any = None, **_: object) -> None:
    if isinstance(headers, dict) and not _official_instrumentation_carries() and (written := carrier()):
        headers[_HEADER] = written


@never_raises
def _begins(task_id: str, task: Any, **_: object) -> None:
    if _official_instrumentation_carries():
        _running[task_id] = partial(put_back, ambient.set(ambient.get()))
        return
    step = Step()
    step.__enter__()
    _running[task_id] = step.__exit__
    written: Any = getattr(task.request, _HEADER, None)
    if written:
        ids = ids_in(written.get("baggage", ""))
        for field, known in ids._asdict().items():
            if known.id is not None:
                hold(field, known.id, Source.INBOUND)
        join_trace(written)


@never_raises
def _ends(task_id: str, **_: object) -> None:
    end = _running.pop(task_id, None)
    if end is not None:
        end()


def _official_instrumentation_carries() -> bool:
    module: Any = sys.modules.get(_OFFICIAL)
    return module is not None and module.CeleryInstrumentor().is_instrumented_by_opentelemetry
