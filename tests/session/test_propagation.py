"""What leaves the process of session, user and turn, and what is believed of what comes in."""

import re
import timeit
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import in_process
import pytest
from hypothesis import given, settings, strategies
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import propagation
from pandaprobe_otel.session import signing
from pandaprobe_otel.session.peers import hosts_of_target, is_internal
from pandaprobe_otel.session.propagation import guard_boundaries
from pandaprobe_otel.session.signing import Ids, opened, sealed, signing_key
from pandaprobe_otel.settings import resolve

INTERNAL = {"server.address": "billing", "url.full": "http://billing/pay"}
VENDOR = {"server.address": "api.openai.com", "url.full": "https://api.openai.com/v1"}


@pytest.fixture(autouse=True)
def _own_textmap() -> Iterator[None]:
    propagate.set_global_textmap(
        CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
    )
    service()
    yield
    guard_boundaries(None)


def service(**settings: Any) -> None:
    """From here on this process is a service with these settings."""
    guard_boundaries(resolve({"api_key": "sk_pp_1", "project_name": "shop", **settings}))


@pytest.fixture
def sent(tracer: trace.Tracer) -> Callable[..., dict[str, str]]:
    """The headers of a call that is made here."""

    def sent(attributes: dict[str, Any] | None = None, kind: SpanKind = SpanKind.CLIENT) -> dict[str, str]:
        headers: dict[str, str] = {}
        with tracer.start_as_current_span("call", kind=kind, attributes=attributes):
            propagate.inject(headers)
        return headers

    return sent


@pytest.fixture
def stamp(tracer: trace.Tracer) -> Callable[[dict[str, str]], dict[str, Any]]:
    """The attributes of a span that is started for a request with these headers."""

    def stamp(headers: dict[str, str]) -> dict[str, Any]:
        span: Any = tracer.start_span("serve", propagate.extract(headers), kind=SpanKind.SERVER)
        span.end()
        return dict(span.attributes)

    return stamp


def ids_in(headers: dict[str, str]) -> list[str]:
    return [name for name in ("session.id", "user.id", "pandaprobe.context") if name in str(headers)]


def test_session_and_user_go_from_one_service_to_the_next(sent: Any, stamp: Any) -> None:
    with pandaprobe.session("c-1"), pandaprobe.user("u-1"):
        headers = sent(INTERNAL)
    assert stamp(headers) == {"session.id": "c-1", "user.id": "u-1"}


@pytest.mark.parametrize(
    ("kind", "attributes", "leaves"),
    [
        (SpanKind.CLIENT, {"server.address": "127.0.0.1"}, True),
        (SpanKind.CLIENT, {"http.url": "http://[::1]:80/x"}, True),
        (SpanKind.CLIENT, {"url.full": "http://user:secret@10.1.2.3:8080/x"}, True),
        (SpanKind.CLIENT, {"net.peer.name": "orders.prod.svc.cluster.local"}, True),
        (SpanKind.CLIENT, {"messaging.system": "nats"}, True),
        (SpanKind.PRODUCER, {"messaging.system": "kafka", "server.address": "b.confluent.cloud"}, True),
        (SpanKind.PRODUCER, {}, True),
        (SpanKind.CLIENT, {"server.address": "api.anthropic.com"}, False),
        (SpanKind.CLIENT, {"server.address": "localhost", "url.full": "https://api.openai.com/v1"}, False),
        (SpanKind.CLIENT, {"url.full": "http://billing@api.openai.com/"}, False),
        (SpanKind.CLIENT, {"url.full": "http://api.openai.com\\@billing/"}, False),
        (SpanKind.CLIENT, {"url.full": "http://[oops/"}, False),
        (SpanKind.CLIENT, {"network.peer.address": "127.0.0.1"}, False),
        (SpanKind.CLIENT, {"rpc.system": "grpc", "rpc.service": "google.ai.Prediction"}, False),
        (SpanKind.CLIENT, {"messaging.system": "aws.sqs", "server.address": "sqs.amazonaws.com"}, False),
        (SpanKind.PRODUCER, {"messaging.system": "aws.sns", "rpc.system": "aws-api"} | VENDOR, False),
        (SpanKind.CLIENT, {}, False),
        (SpanKind.SERVER, {"server.address": "127.0.0.1"}, False),
        (SpanKind.INTERNAL, {"server.address": "127.0.0.1"}, False),
        (SpanKind.CONSUMER, {"messaging.system": "kafka"}, False),
    ],
)
def test_ids_leave_for_internal_hosts_and_queues_only(
    kind: SpanKind, attributes: dict[str, Any], leaves: bool, sent: Any
) -> None:
    with pandaprobe.session("c-1"), pandaprobe.user("u-1"):
        headers = sent(attributes, kind)
    assert ids_in(headers) == (["session.id", "user.id", "pandaprobe.context"] if leaves else [])
    assert "traceparent" in headers


def test_nothing_leaves_where_no_span_says_who_the_peer_is(tracer: trace.Tracer, sent: Any) -> None:
    headers: dict[str, str] = {}
    with pandaprobe.session("c-1"):
        propagate.inject(headers)
        with (
            tracer.start_as_current_span(
                "serve", kind=SpanKind.SERVER, attributes={"server.address": "localhost"}
            ),
            tracer.start_as_current_span("work"),
        ):
            propagate.inject(headers)
        # A span that is not sampled says nothing.
        with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 1, False))):
            propagate.inject(headers)
    assert ids_in(headers) == []


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "app.localhost",
            "127.8.9.1",
            "10.0.0.1",
            "172.16.0.9",
            "192.168.1.1",
            "169.254.169.254",
        ),
        *("::1", "fd12::1", "fe80::1", "::ffff:10.0.0.1", "billing", "my_service", "db-1", "printer.local"),
        *("api.corp.internal", "orders.prod.svc", "orders.prod.svc.cluster.local.", "redis1"),
    ],
)
def test_host_is_internal(host: str) -> None:
    assert is_internal(host)


@pytest.mark.parametrize(
    "host",
    [
        *("api.openai.com", "8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "172.32.0.1", "100.64.0.1"),
        # What resolvers read as 8.8.8.8.
        *("134744072", "0x8080808", "0x08.0x08.0x08.0x08", "8.526344"),
        *("com.", "notlocal.com", "local.evil.com", "api\u3002openai\u3002com", "a b", ""),
    ],
)
def test_host_is_not_internal(host: str) -> None:
    assert not is_internal(host)


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ("billing:50051", {"billing"}),
        ("API.example.com", {"api.example.com"}),
        ("[::1]:50051", {"::1"}),
        ("dns:billing:50051", {"billing"}),
        ("dns:///billing:50051", {"billing"}),
        ("dns://8.8.8.8/billing:50051", {"billing"}),
        ("xds:///billing.prod.svc:50051", {"billing.prod.svc"}),
        ("ipv4:10.0.0.1:80,8.8.8.8:80", {"10.0.0.1", "8.8.8.8"}),
        ("ipv6:[::1]:80,[2001:4860:4860::8888]:80", {"::1", "2001:4860:4860::8888"}),
        ("unix:/run/billing.sock", {"localhost"}),
        ("unix-abstract:billing", {"localhost"}),
        # What may be anyone's, or cannot be read.
        ("8.8.8.8:80,billing", {"8.8.8.8", "billing"}),
        ("DNS:///billing", {""}),
        ("google-c2p:///billing", {""}),
        ("dns:////billing", {""}),
        ("[::1]billing:80", {""}),
        ("ipv4:10.0.0.1:80,", {"10.0.0.1", ""}),
        *(
            (odd, set[str]())
            for odd in ("a@billing", "billing?x", "billing#x", "%62illing", "a\\billing", "a b")
        ),
        *((none, set[str]()) for none in (None, b"billing")),
    ],
)
def test_target_of_a_grpc_channel_leads_to_hosts(target: object, hosts: set[str]) -> None:
    assert hosts_of_target(target) == hosts


def test_ids_leave_for_hosts_that_are_listed(sent: Any) -> None:
    service(propagate_to="Partner.example.com, .corp.example")
    with pandaprobe.session("c-1"):
        assert ids_in(sent({"server.address": "partner.example.com"}))
        assert ids_in(sent({"server.address": "api.corp.example"}))
        assert not ids_in(sent({"server.address": "corp.example"}))
        assert not ids_in(sent({"server.address": "x.partner.example.com"}))
        assert not ids_in(sent({"server.address": "evilcorp.example"}))


def test_inject_of_ours_goes_past_the_guard(tracer: trace.Tracer, stamp: Any) -> None:
    headers: dict[str, str] = {}
    with pandaprobe.session("c-1"), tracer.start_as_current_span("call", attributes=VENDOR):
        propagation.inject(headers)
    assert stamp(headers) == {"session.id": "c-1"}
    token = attach(propagation.extract(headers))
    assert pandaprobe.current_session() == "c-1"
    detach(token)


@pytest.mark.parametrize("name", ["baggage", "Baggage"])
def test_what_inject_of_ours_wrote_stays_where_a_client_injects_too(
    name: str, tracer: trace.Tracer, stamp: Any
) -> None:
    written: dict[str, str] = {}
    with pandaprobe.session("c-1"):
        propagation.inject(written)
        headers = {name: written["baggage"]}
        with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=VENDOR):
            propagate.inject(headers)
            assert headers.get("baggage", written["baggage"]) == headers.get("Baggage", written["baggage"])
            token = attach(baggage.set_baggage("theirs", "1"))
            propagate.inject(headers)
            detach(token)
    assert headers["baggage"] == f"theirs=1,{written['baggage']}"
    assert stamp({"baggage": by_python(headers["baggage"])}) == {"session.id": "c-1"}


def test_what_inject_of_ours_wrote_elsewhere_and_is_passed_on_stays_inside(tracer: trace.Tracer) -> None:
    headers: dict[str, str] = {}
    with pandaprobe.session("c-1"):
        propagation.inject(headers)
    # Another process marks it otherwise.
    headers["baggage"], marks = re.subn(";by=.*", ";by=00000000", headers["baggage"])
    assert marks == 1
    with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=VENDOR):
        propagate.inject(headers)
    assert headers["baggage"] == ""


def test_baggage_of_others_leaves_as_it_would_without_us(sent: Any) -> None:
    token = attach(baggage.set_baggage("tenant", "a b+c", baggage.set_baggage("theirs", "x,y")))
    theirs: dict[str, str] = {}
    W3CBaggagePropagator().inject(theirs)
    with pandaprobe.session("c-1"):
        assert sent(VENDOR)["baggage"] == theirs["baggage"] == "theirs=x%2Cy,tenant=a+b%2Bc"
        assert sent(INTERNAL)["baggage"].startswith(theirs["baggage"] + ",session.id=c-1,pandaprobe.context=")
        assert baggage.get_all() == {"theirs": "x,y", "tenant": "a b+c", "session.id": "c-1"}
    detach(token)


def test_headers_that_a_redirect_takes_along_are_cleaned(tracer: trace.Tracer, sent: Any) -> None:
    with pandaprobe.session("c-1"):
        headers = sent(INTERNAL)
        headers["baggage"] = f"theirs=1,{headers['baggage']},other=2"
        with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=VENDOR):
            propagate.inject(headers)
    assert headers["baggage"] == "theirs=1,other=2"


def test_ids_that_somebody_put_into_the_baggage_stay_inside_too(sent: Any, stamp: Any) -> None:
    token = attach(baggage.set_baggage("session.id", "by hand"))
    assert ids_in(sent(VENDOR)) == []
    assert sent(INTERNAL)["baggage"] == "session.id=by+hand"
    detach(token)


def test_ids_that_are_too_long_for_a_header_by_themselves_stay_here(
    sent: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pandaprobe.session("\U0001f43c" * 255), pandaprobe.user("\U0001f43c" * 255):
        assert "baggage" not in sent(INTERNAL)
    assert "no room" in caplog.text


def test_without_room_in_the_header_others_go_first(sent: Any, stamp: Any) -> None:
    context = get_current()
    for number in range(3):
        context = baggage.set_baggage(f"k{number}", "v" * 2720, context)
    token = attach(context)
    with pandaprobe.session("c-1"):
        headers = sent(INTERNAL)
    detach(token)
    assert (len(headers["baggage"]) <= 8192, ids_in(headers)) == (True, [])
    assert baggage.get_all(propagate.extract(headers)).keys() == {"k0", "k1", "k2"}


def forgeries() -> list[Any]:
    ids = Ids("victim", "admin", None)
    key = signing_key("sk_pp_1", "shop")
    other_project, other_key = signing_key("sk_pp_1", "other"), signing_key("sk_pp_2", "shop")
    good = sealed(ids, key)
    body, _, mac = good.rpartition(".")
    other = sealed(Ids("someone", None, None), key)
    return [
        pytest.param("session.id=victim,user.id=admin", id="plain"),
        pytest.param(f"session.id=victim,pandaprobe.context={body}.", id="without signature"),
        pytest.param(f"pandaprobe.context={body}", id="cut"),
        pytest.param(f"pandaprobe.context={body}.{mac[:-1]}", id="shortened signature"),
        pytest.param(
            f"pandaprobe.context={other.rpartition('.')[0][:-2]}xx.{mac}", id="signature of another"
        ),
        pytest.param(f"pandaprobe.context=2{good[1:]}", id="other version"),
        pytest.param(f"pandaprobe.context={sealed(ids, other_project)}", id="other project"),
        pytest.param(f"pandaprobe.context={sealed(ids, other_key)}", id="other key"),
        pytest.param("pandaprobe.context=..", id="nothing"),
        pytest.param("pandaprobe.context=1.\xff.\xff", id="no text"),
        pytest.param("pandaprobe.context=" + "A" * 5000, id="long"),
        pytest.param("pandaprobe.sig=x,session.id=%zz", id="bad encoding"),
    ]


@pytest.mark.parametrize("header", forgeries())
def test_forged_baggage_changes_nothing(header: str, stamp: Any) -> None:
    headers = {"baggage": f"theirs=1,{header},other=2"}
    assert stamp(headers) == {}
    received = propagate.extract(headers)
    assert "session.id" not in baggage.get_all(received)
    assert "user.id" not in baggage.get_all(received)
    assert baggage.get_baggage("theirs", received) == "1"


def test_signature_stands_above_the_plain_ids(sent: Any, stamp: Any) -> None:
    with pandaprobe.session("c-1"):
        headers = sent(INTERNAL)
    headers["baggage"] = headers["baggage"].replace("session.id=c-1", "session.id=victim,user.id=admin")
    assert stamp(headers) == {"session.id": "c-1"}
    assert baggage.get_all(propagate.extract(headers)) == {"session.id": "c-1"}


def test_what_is_trusted_needs_no_signature(sent: Any, stamp: Any) -> None:
    service(trust_incoming=True)
    assert stamp({"baggage": "session.id=from%20a%20browser;p=1, user.id=u%2B1"}) == {
        "session.id": "from a browser",
        "user.id": "u+1",
    }
    service(api_key=None, endpoint="http://127.0.0.1:1")
    with pandaprobe.session("c-1"):
        unsigned = sent(INTERNAL)
    assert stamp(unsigned) == {}
    service(trust_incoming=True)
    assert stamp(unsigned) == {"session.id": "c-1"}


@pytest.mark.parametrize(
    "header",
    [
        ",".join(f"k{number}=v" for number in range(1, 200)) + ",{ours}",
        "a=%zz,,=,;,k1=v,b=\x00,c,{ours},=;=",
        "k1=v;prop;p2=3 , {ours}",
    ],
)
def test_malformed_and_many_members_break_nothing(header: str, sent: Any, stamp: Any) -> None:
    with pandaprobe.session("c-1"):
        ours = sent(INTERNAL)["baggage"]
    headers = {"baggage": header.format(ours=ours)}
    assert stamp(headers) == {"session.id": "c-1"}
    assert baggage.get_baggage("k1", propagate.extract(headers)).startswith("v")


def test_huge_header_breaks_nothing(stamp: Any, sent: Any) -> None:
    with pandaprobe.session("c-1"):
        ours = sent(INTERNAL)["baggage"]
    huge = {"baggage": f"k={'v' * 9000},{ours}"}
    # OpenTelemetry's own propagator ignores a header of over 8192 bytes whole.
    assert baggage.get_all(propagate.extract(huge)) == {"session.id": "c-1"}
    assert stamp({"baggage": "," * 60_000}) == {}


ODD = [
    *("a b", " a ", "a+b", "100%", "%41", "a,b;c=d", '"q"\\', "é", "\U0001f43c"),
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
]


def by_w3c(header: str) -> str:
    """A peer that decodes and encodes as W3C Baggage says."""
    pairs = (member.split("=", 1) for member in header.split(","))
    return ",".join(f"{key}={quote(unquote(value), safe='+')}" for key, value in pairs)


def by_python(header: str) -> str:
    """A peer with nothing but OpenTelemetry for Python."""
    headers: dict[str, str] = {}
    theirs = W3CBaggagePropagator()
    theirs.inject(headers, theirs.extract({"baggage": header}, Context()))
    return headers["baggage"]


@pytest.mark.parametrize("id", ODD)
def test_odd_id_is_read_by_others_as_it_is(id: str, sent: Any) -> None:
    with pandaprobe.session(id):
        (member, _) = sent(INTERNAL)["baggage"].split(",")
    assert unquote(member.removeprefix("session.id=")) == id
    read_by_python = W3CBaggagePropagator().extract({"baggage": member}, Context())
    assert baggage.get_all(read_by_python) == {"session.id": id.strip()}


@pytest.mark.usefixtures("tracer")
@given(
    strategies.text(min_size=1).filter(str.strip),
    strategies.lists(strategies.sampled_from([by_w3c, by_python])),
)
@settings(max_examples=200, deadline=None)
def test_any_id_survives_any_hops(id: str, hops: list[Callable[[str], str]]) -> None:
    with pandaprobe.session(id) as known:
        headers: dict[str, str] = {}
        propagation.inject(headers)
    for hop in hops:
        headers["baggage"] = hop(headers["baggage"])
    token = attach(propagate.extract(headers, Context()))
    assert pandaprobe.current_session() == known
    detach(token)


def test_what_came_in_is_weaker_than_what_is_set_here(sent: Any, tracer: trace.Tracer) -> None:
    with pandaprobe.session("theirs"), pandaprobe.user("u"):
        headers = sent(INTERNAL)
    span: Any
    received = propagate.extract(headers)
    with pandaprobe.session("ours"):
        span = tracer.start_span("with its context", received)
        assert (span.attributes["session.id"], span.attributes["user.id"]) == ("ours", "u")
        token = attach(propagate.extract(headers))
        assert (pandaprobe.current_session(), pandaprobe.current_user()) == ("ours", "u")
        detach(token)
    token = attach(received)
    assert pandaprobe.current_session() == "theirs"
    with pandaprobe.session("ours"):
        assert pandaprobe.current_session() == "ours"
    assert pandaprobe.current_session() == "theirs"
    assert baggage.get_all() == {"session.id": "theirs", "user.id": "u"}
    detach(token)
    assert pandaprobe.current_session() is None


@pytest.mark.usefixtures("tracer")
def test_set_session_stays_in_the_baggage_of_a_context_that_is_read_into() -> None:
    pandaprobe.set_session("ours")
    try:
        received = propagate.extract({"baggage": "session.id=victim,theirs=1"}, get_current())
        assert baggage.get_all(received) == {"session.id": "ours", "theirs": "1"}
    finally:
        pandaprobe.set_session(None)


def test_a_block_holds_through_a_request_that_names_no_session(tracer: trace.Tracer) -> None:
    with pandaprobe.session("c-1"):
        token = attach(propagate.extract({}))
        assert pandaprobe.current_session() == "c-1"
        detach(token)


def test_message_has_nothing_of_the_one_before_that_was_never_detached(sent: Any) -> None:
    with pandaprobe.session("first"):
        first = sent(INTERNAL)
    with pandaprobe.user("of the second"):
        second = sent(INTERNAL)
    tokens = [attach(propagate.extract(headers)) for headers in (first, second)]
    assert (pandaprobe.current_session(), pandaprobe.current_user()) == (None, "of the second")
    tokens.append(attach(propagate.extract({})))
    assert (pandaprobe.current_session(), pandaprobe.current_user()) == (None, None)
    for token in reversed(tokens):
        detach(token)


def test_turn_goes_along_and_what_is_called_is_a_part_of_it(sent: Any, stamp: Any) -> None:
    with pandaprobe.start_trace("turn", session_id="c-1") as turn:
        headers = sent(INTERNAL)
        assert ids_in(sent(VENDOR)) == []
    assert stamp(headers) == {"session.id": "c-1", "pandaprobe.trace.id": turn.trace_id}
    token = attach(propagate.extract(headers))
    with pandaprobe.start_trace("sub-agent") as inner:
        assert inner.trace_id == turn.trace_id
        # And on to the next service.
        assert sent(INTERNAL)["baggage"] == headers["baggage"]
    with pandaprobe.start_trace("another session's", session_id="c-2") as other:
        assert other.trace_id != turn.trace_id
    detach(token)


def test_turn_that_has_ended_does_not_go_along(sent: Any, stamp: Any) -> None:
    with pandaprobe.start_trace("turn", session_id="c-1"):
        left_over = get_current()
    token = attach(left_over)
    headers = sent(INTERNAL)
    detach(token)
    assert stamp(headers) == {"session.id": "c-1"}


def test_forged_turn_is_not_joined(stamp: Any) -> None:
    service(trust_incoming=True)
    header = sealed(Ids("c-1", None, "no turn"), None)
    assert stamp({"baggage": f"pandaprobe.context={header}"}) == {"session.id": "c-1"}


@pytest.mark.parametrize("where", ["before the session", "inside it"])
def test_propagator_that_is_set_later_wins_and_is_guarded(where: str, sent: Any) -> None:
    theirs = CompositePropagator([W3CBaggagePropagator()])
    if where == "before the session":
        propagate.set_global_textmap(theirs)
    with pandaprobe.session("c-1"):
        if where == "inside it":
            propagate.set_global_textmap(theirs)
        assert (ids_in(sent(VENDOR)), sent(INTERNAL).keys()) == ([], {"baggage"})


@pytest.mark.usefixtures("tracer")
def test_propagator_that_is_set_later_is_guarded_where_nothing_is_sampled() -> None:
    propagate.set_global_textmap(W3CBaggagePropagator())
    headers: dict[str, str] = {}
    not_sampled = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))
    with pandaprobe.session("c-1"), trace.use_span(not_sampled):
        propagate.inject(headers)
    assert headers == {}


@pytest.mark.usefixtures("tracer")
def test_propagator_that_is_set_later_is_guarded_where_a_session_is_set() -> None:
    propagate.set_global_textmap(W3CBaggagePropagator())
    headers: dict[str, str] = {}
    pandaprobe.set_session("c-1")
    try:
        propagate.inject(headers)
    finally:
        pandaprobe.set_session(None)
    assert headers == {}


def test_guard_is_put_around_once(sent: Any) -> None:
    guarded = propagate.get_global_textmap()
    service()
    assert propagate.get_global_textmap() is guarded
    propagate.set_global_textmap(CompositePropagator([guarded, propagation.PandaProbePropagator()]))
    service()
    with pandaprobe.session("c-1"):
        assert sent(INTERNAL)["baggage"].count("session.id") == 1


@pytest.mark.parametrize("inner", [CompositePropagator([]), TraceContextTextMapPropagator()])
def test_who_carries_no_baggage_carries_none_of_ours(inner: TextMapPropagator, sent: Any) -> None:
    propagate.set_global_textmap(inner)
    service()
    with pandaprobe.session("c-1"):
        assert "baggage" not in sent(INTERNAL)
        assert propagate.get_global_textmap().fields == inner.fields


def test_named_beside_others_it_carries_ours(sent: Any, stamp: Any) -> None:
    member = propagation.PandaProbePropagator()
    propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), member]))
    service()
    with pandaprobe.session("c-1"):
        headers = sent(INTERNAL)
        assert headers.keys() == {"traceparent", "baggage"}
        assert ids_in(sent(VENDOR)) == []
    assert stamp(headers) == {"session.id": "c-1"}


@pytest.mark.parametrize("off", [None, resolve({"enabled": False})])
def test_nothing_leaves_or_comes_in_while_it_is_off(off: Any, sent: Any, stamp: Any) -> None:
    with pandaprobe.session("c-1"):
        before = sent(INTERNAL)
        guard_boundaries(off)
        assert ids_in(sent(VENDOR)) == []
    assert stamp(before) == {}


def test_sealing_and_opening_are_quick() -> None:
    key = signing_key("sk_pp_1", "shop")
    ids = Ids("0f0e7f0b-2e0a-4c0f-b6d5-0a8f4f6f3a11", "user-42", "0f0e7f0b-2e0a-4c0f-b6d5-0a8f4f6f3a12")
    text = sealed(ids, key)
    # 3 and 5 microseconds; the quickest of many runs does not depend on what else the machine does.
    making = min(timeit.repeat(lambda: signing.sealed.__wrapped__(ids, key), number=50, repeat=40)) / 50
    checking = min(timeit.repeat(lambda: opened(text, key), number=50, repeat=40)) / 50
    assert max(making, checking) < 20e-6, (making, checking)


OF_ITS_OWN = """
from opentelemetry import propagate, trace
from opentelemetry.context import attach
from opentelemetry.sdk.trace import TracerProvider
import pandaprobe_otel as pandaprobe

trace.set_tracer_provider(TracerProvider())
def headers_to(host):
    headers = {}
    peer = {"server.address": host}
    with trace.get_tracer("t").start_as_current_span("call", kind=trace.SpanKind.CLIENT, attributes=peer):
        propagate.inject(headers)
    return headers.get("baggage")
"""


@pytest.mark.parametrize("environment", [{}, {"PANDAPROBE_ENABLED": "false"}])
def test_without_a_client_the_session_stays_inside_too(environment: dict[str, str]) -> None:
    program = OF_ITS_OWN + "with pandaprobe.session('c-1'): tell(vendor=headers_to('api.openai.com'))"
    assert in_process.run(program, **environment).told == {"vendor": None}


@pytest.mark.parametrize("starts", ["", "pandaprobe.init()"])
def test_named_in_the_environment_it_starts_with_what_comes_in(starts: str) -> None:
    ids = sealed(Ids("c-1"), signing_key("sk_pp_1", "shop"))
    program = f"""
{starts}
attach(propagate.extract({{"baggage": "theirs=1,pandaprobe.context={ids}"}}))
tell(session=pandaprobe.current_session())
tell(vendor=headers_to("api.openai.com"), internal=headers_to("billing"))
"""
    told = in_process.run(
        OF_ITS_OWN + program,
        OTEL_PROPAGATORS="tracecontext,baggage,pandaprobe",
        PANDAPROBE_API_KEY="sk_pp_1",
        PANDAPROBE_PROJECT_NAME="shop",
        PANDAPROBE_ENDPOINT="http://127.0.0.1:1",
    ).told
    assert told == {
        "session": "c-1",
        "vendor": "theirs=1",
        "internal": f"theirs=1,session.id=c-1,pandaprobe.context={ids}",
    }
