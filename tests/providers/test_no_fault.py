"""No fault of the tracing reaches a caller: every function of the wrappers that a call runs is made to raise.

What the official instrumentations run is in `test_faults.py`.
"""

import importlib
import pkgutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import CodeType
from typing import Any

import pytest
import pytest_asyncio
from faulty import each_step_failing
from opentelemetry import context

from pandaprobe_otel import wrappers
from pandaprobe_otel.testing import Captured

from .provider_api import ProviderAPI
from .tables import OUTCOMES, WRAPPERS, Surface, Table
from .test_matrix import TABLES, run

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # What SDKs warn of, and what a fault leaves open.
    pytest.mark.filterwarnings("ignore"),
]

# They are the net, or do nothing.
NET = {
    "_calls._Outcome.__init__",
    "_calls.attempt",
    "_calls.attempt_async",
    "raw.Raw._later",
    "streams._untimed",
}
ENDS = ("429", "broken off", "lost")


def _modules() -> list[Any]:
    found = pkgutil.walk_packages(wrappers.__path__, f"{wrappers.__name__}.")
    loaded = []
    for module in found:
        try:
            loaded.append(importlib.import_module(module.name))
        except ImportError:
            # Of an SDK that is not installed beside these.
            continue
    return loaded


@contextmanager
def _noting(codes: set[CodeType]) -> Iterator[None]:
    """A block whose functions are noted, those of this thread."""
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: codes.add(frame.f_code) if event == "call" else None)
    try:
        yield
    finally:
        sys.setprofile(before)


@pytest_asyncio.fixture(loop_scope="module")
async def client_of(provider_server: ProviderAPI) -> AsyncIterator[Any]:
    async with AsyncExitStack() as open_clients:

        async def client(table: Table, name: str) -> Any:
            return await open_clients.enter_async_context(table.clients[name](provider_server.url))

        yield client


def _calls(table: Table) -> Iterator[tuple[Surface, str, str]]:
    """Each surface with each client, and the first of a kind with every end."""
    known = set()
    for surface in table.surfaces:
        for client in surface.clients:
            ends = surface.outcomes(client in table.asynchronous)
            yield surface, client, "tool call" if "tool call" in ends else "answer"
            if (client, surface.streams) not in known:
                known.add((client, surface.streams))
                yield from ((surface, client, end) for end in ENDS if end in ends)


@pytest.mark.parametrize("provider", WRAPPERS)
async def test_no_fault_of_a_wrapper_reaches_the_caller(
    provider: str,
    client_of: Any,
    provider_server: ProviderAPI,
    spans: Captured,
) -> None:
    table = TABLES[provider]
    if table is None:
        pytest.skip(f"the SDK of wrap_{provider} is not installed beside these")
    clients = {name: await client_of(table, name) for name in table.clients}

    async def seen(call: tuple[Surface, str, str]) -> Any:
        surface, name, end = call
        asked = surface.ask(OUTCOMES[end])
        return (await run(end, surface, clients[name], asked, provider_server, table.passing))[0]

    calls = list(_calls(table))
    plain = {call: await seen(call) for call in calls}
    for client in clients.values():
        table.wrap(client)
    ran: dict[CodeType, list[Any]] = {}
    for call in calls:
        codes: set[CodeType] = set()
        with _noting(codes):
            await seen(call)
        for code in codes:
            ran.setdefault(code, []).append(call)
    steps = [
        step
        for step in each_step_failing(*_modules())
        if step.function.__code__ in ran and str(step) not in NET
    ]
    assert len(steps) > 10
    felt = []
    for step in steps:
        for call in _some(ran[step.function.__code__], table):
            before = context.get_current()
            with step.failing():
                same = await seen(call) == plain[call]
            if not same or context.get_current() != before:
                felt.append((str(step), call[0].name, *call[1:]))
                context.attach(before)
    assert felt == []


def _some(calls: list[Any], table: Table) -> list[Any]:
    """The first of a sync client, and the last of an async one."""
    sync = [call for call in calls if call[1] not in table.asynchronous]
    return [*sync[:1], *[call for call in calls if call[1] in table.asynchronous][-1:]]
