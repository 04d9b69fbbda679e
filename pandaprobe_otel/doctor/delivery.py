"""A test span over each wire, and what the answer means."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import monotonic, time

import urllib3
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from urllib3.exceptions import HTTPError

from ..attributes import SESSION_ID
from ..export.connection import Connection, proxy_for
from ..export.encoding import encode
from ..export.exporter import headers_of, wires_for
from ..export.otlp import pack
from ..export.spool import Item
from ..export.wire import NOT_THERE, Wire
from ..settings import Settings
from .answers import is_delivered, meaning, no_answer
from .masking import without_password
from .report import Section

# The name of the test span and of its session.
NAME = "pandaprobe-otel doctor"
# Seconds; less is not worth a word.
_MOST_SKEW = 60.0


@dataclass(frozen=True)
class _Tried:
    """What became of the test span on one wire."""

    arrived: bool
    text: str
    fix: str = ""
    response: urllib3.BaseHTTPResponse | None = None


def check_delivery(settings: Settings) -> Section:
    """Sends a test span over each wire that may be used; the first one that is there is the one in use."""
    section = Section("Delivery")
    section.facts["wire"] = None
    if proxy := proxy_for(settings.endpoint):
        section.facts["proxy"] = without_password(proxy)
    span = _test_span()
    if not settings.enabled or settings.missing or not isinstance(span, ReadableSpan):
        section.facts["test_span"] = "not sent; see above"
        return section
    section.facts["test_span"] = f"{NAME!r}, in the session of that name"
    item = Item(1, "spans", pack(encode([span])), 1)
    connection = Connection(settings.endpoint, headers_of(settings))
    wires = wires_for(settings)
    undecided = True
    for wire in wires:
        tried = _try(wire, item, connection, settings.timeout)
        section.facts[wire.name] = tried.text
        is_there = tried.response is None or tried.response.status not in NOT_THERE
        if undecided and (is_there or wire is wires[-1]):
            undecided = False
            if tried.arrived:
                section.facts["wire"] = wire.name
            else:
                section.problem(f"{wire.name}: {tried.text}", tried.fix)
        if tried.response is None:
            break
        if "clock" not in section.facts:
            _check_clock(tried.response, section)
    connection.close()
    return section


def _try(wire: Wire, item: Item, connection: Connection, timeout: float) -> _Tried:
    wire.load([item])
    began = monotonic()
    request = wire.next(began, final=True)
    if request is None:
        return _Tried(False, "made no request of the test span", "please report this")
    where = f"{request.method} {without_password(connection.endpoint)}{request.path}"
    try:
        response = connection.request(
            request.method, request.path, request.body, request.headers, began + timeout
        )
    except (HTTPError, OSError) as error:
        text, fix = no_answer(error, connection.endpoint, timeout)
        return _Tried(False, f"{where}: {text}", fix)
    if not is_delivered(response):
        text, fix = meaning(response)
        return _Tried(False, f"{where} {text}", fix, response)
    if wire.delivered(request, response).rejected:
        return _Tried(
            False,
            f"{where} answered {response.status}, but rejected the span",
            "see the receiver's log",
            response,
        )
    took = 1000 * (monotonic() - began)
    return _Tried(True, f"{where} answered {response.status} in {took:.0f} ms", "", response)


def _test_span() -> object:
    # Not by the provider in charge, which would send it to everybody's exporters.
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    span = provider.get_tracer("pandaprobe_otel").start_span(NAME, attributes={SESSION_ID: NAME})
    span.end()
    return span


def _check_clock(response: urllib3.BaseHTTPResponse, section: Section) -> None:
    try:
        ahead = time() - parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return
    section.facts["clock"] = f"{ahead:+.0f} s against the receiver's"
    if abs(ahead) > _MOST_SKEW:
        section.note(
            f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the"
            " receiver's: traces stand at wrong times",
            "set it, for instance by NTP",
        )
