"""Joining what is there: each situation in a process of its own."""

import in_process
from otlp_receiver import Receiver, attributes_of

TURN = """
import pandaprobe_otel as pandaprobe
from opentelemetry import trace
"""


def test_without_a_provider_one_is_built() -> None:
    with Receiver() as receiver:
        ended = in_process.run(
            f"""
            {TURN.strip().replace(chr(10), "; ")}
            early = trace.get_tracer("early")
            pandaprobe.init(endpoint="{receiver.url}", environment="staging", release="1.2")
            with pandaprobe.session("s"):
                early.start_span("early").end()
                trace.get_tracer("theirs").start_span("theirs").end()
                with pandaprobe.start_trace("ours"): pass
            from opentelemetry.sdk.trace import TracerProvider
            tell(flushed=pandaprobe.flush(), is_sdk=isinstance(trace.get_tracer_provider(), TracerProvider))
            """,
            OTEL_SERVICE_NAME="shop",
            OTEL_RESOURCE_ATTRIBUTES="team=a",
        )
    assert ended.told == {"flushed": True, "is_sdk": True}
    assert {span.name: attributes_of(span)["session.id"] for span in receiver.spans} == {
        "early": "s",
        "theirs": "s",
        "ours": "s",
    }
    assert {
        "service.name": "shop",
        "team": "a",
        "telemetry.distro.name": "pandaprobe-otel",
        "deployment.environment.name": "staging",
        "service.version": "1.2",
    }.items() <= receiver.resource.items()


def test_release_does_not_replace_a_service_version() -> None:
    with Receiver() as receiver:
        in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            pandaprobe.init(endpoint="{receiver.url}", release="1.2")
            with pandaprobe.start_trace("ours"): pass
            pandaprobe.flush()
            """,
            OTEL_RESOURCE_ATTRIBUTES="service.version=7",
        )
    assert receiver.resource["service.version"] == "7"


def test_sdk_provider_is_joined_and_otherwise_left_alone() -> None:
    with Receiver() as receiver:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
            theirs = InMemorySpanExporter()
            provider = TracerProvider(resource=Resource({{"service.name": "shop"}}))
            provider.add_span_processor(SimpleSpanProcessor(theirs))
            trace.set_tracer_provider(provider)
            client = pandaprobe.init(endpoint="{receiver.url}", environment="staging")
            with pandaprobe.session("s"), trace.get_tracer("theirs").start_as_current_span("outer"):
                with pandaprobe.start_trace("ours"): pass
            tell(
                flushed=pandaprobe.flush(),
                same=trace.get_tracer_provider() is provider is client.tracer_provider,
                theirs=[[span.name, span.attributes["session.id"]] for span in theirs.get_finished_spans()],
                resource=dict(theirs.get_finished_spans()[0].resource.attributes),
            )
            """
        )
    assert ended.told == {
        "flushed": True,
        "same": True,
        "theirs": [["ours", "s"], ["outer", "s"]],
        "resource": {"service.name": "shop"},
    }
    assert sorted(span.name for span in receiver.spans) == ["ours", "outer"]
    assert receiver.resource == {"service.name": "shop", "deployment.environment.name": "staging"}


def test_foreign_provider_is_left_alone_and_ours_is_private() -> None:
    with Receiver() as receiver:
        ended = in_process.run(
            f"""
            import logging
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            class Foreign(trace.NoOpTracerProvider): ...
            provider = Foreign()
            trace.set_tracer_provider(provider)
            pandaprobe.init(endpoint="{receiver.url}")
            pandaprobe.init(endpoint="{receiver.url}", release="2")
            with pandaprobe.session("s"), pandaprobe.start_trace("ours") as turn, turn.span("step"): pass
            tell(flushed=pandaprobe.flush(), same=trace.get_tracer_provider() is provider)
            """
        )
    assert ended.told == {"flushed": True, "same": True}
    assert {span.name: attributes_of(span)["session.id"] for span in receiver.spans} == {
        "ours": "s",
        "step": "s",
    }
    assert ended.errors.count("takes no span processors") == 1
    assert "Foreign" in ended.errors


def test_init_twice_changes_nothing_twice() -> None:
    with Receiver() as receiver:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            first = pandaprobe.init(endpoint="{receiver.url}")
            second = pandaprobe.init(endpoint="{receiver.url}")
            with pandaprobe.start_trace("ours"): pass
            tell(same=first is second is pandaprobe.get_client(), flushed=pandaprobe.flush())
            """
        )
    assert ended.told == {"same": True, "flushed": True}
    assert [span.name for span in receiver.spans] == ["ours"]


def test_new_settings_lose_nothing_that_is_in_flight() -> None:
    with Receiver() as old, Receiver() as new:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            pandaprobe.init(endpoint="{old.url}", flush_interval=60)
            with pandaprobe.start_trace("ended before"): pass
            with pandaprobe.start_trace("open"):
                pandaprobe.init(endpoint="{new.url}", flush_interval=60)
            with pandaprobe.start_trace("after"): pass
            tell(flushed=pandaprobe.flush())
            """
        )
    assert ended.told == {"flushed": True}
    assert [span.name for span in old.spans] == ["ended before"]
    assert [span.name for span in new.spans] == ["open", "after"]


def test_client_starts_from_the_environment_at_first_use() -> None:
    with Receiver() as receiver:
        in_process.run(
            """
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            with pandaprobe.session("s"):
                trace.get_tracer("theirs").start_span("theirs").end()
            """,
            PANDAPROBE_ENDPOINT=receiver.url,
        )
    assert attributes_of(receiver.span("theirs"))["session.id"] == "s"


def test_environment_that_comes_later_is_seen() -> None:
    with Receiver() as receiver:
        ended = in_process.run(
            f"""
            import os
            import pandaprobe_otel as pandaprobe
            with pandaprobe.start_trace("too early"): pass
            first = pandaprobe.get_client()
            os.environ["PANDAPROBE_ENDPOINT"] = "{receiver.url}"
            with pandaprobe.start_trace("ours"): pass
            tell(first=first, flushed=pandaprobe.flush())
            """
        )
    assert ended.told == {"first": None, "flushed": True}
    assert [span.name for span in receiver.spans] == ["ours"]
    assert ended.errors.count("set PANDAPROBE_API_KEY and PANDAPROBE_PROJECT_NAME, or call init()") == 1


def test_failed_init_leaves_the_running_client_alone() -> None:
    with Receiver() as receiver:
        in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            pandaprobe.init(endpoint="{receiver.url}")
            for wrong in ({{"endpoint": "https://example.com"}}, {{"batch_size": 0}}):
                try: pandaprobe.init(**wrong)
                except ValueError as error: print(error)
                else: raise AssertionError
            with pandaprobe.start_trace("ours"): pass
            assert pandaprobe.flush()
            """
        )
    assert [span.name for span in receiver.spans] == ["ours"]


def test_disabled_client_traces_nothing_and_needs_no_key() -> None:
    for how in ({"PANDAPROBE_ENABLED": "false"}, {"OTEL_SDK_DISABLED": "true"}):
        with Receiver() as receiver:
            ended = in_process.run(
                """
                import pandaprobe_otel as pandaprobe
                from opentelemetry import trace
                @pandaprobe.trace
                def agent(): return pandaprobe.current_session()
                with pandaprobe.session("s"), pandaprobe.start_trace("t", input=1) as t, t.span("x"):
                    tell(session=agent(), valid=trace.get_current_span().get_span_context().is_valid)
                tell(flushed=pandaprobe.flush(), enabled=pandaprobe.get_client().enabled)
                tell(stopped=pandaprobe.shutdown())
                """,
                PANDAPROBE_ENDPOINT=receiver.url,
                **how,
            )
        assert ended.told == {
            "session": "s",
            "valid": False,
            "flushed": True,
            "enabled": False,
            "stopped": True,
        }
        assert not receiver.paths
        assert not ended.errors


def test_what_is_queued_at_exit_is_sent() -> None:
    with Receiver() as receiver:
        in_process.run(
            """
            import pandaprobe_otel as pandaprobe
            for _ in range(300):
                with pandaprobe.start_trace("ours"): pass
            """,
            PANDAPROBE_ENDPOINT=receiver.url,
            PANDAPROBE_FLUSH_INTERVAL="60",
        )
    assert len(receiver.spans) == 300


def test_end_of_a_trace_waits_for_its_delivery_where_that_is_set() -> None:
    with Receiver() as receiver:
        ended = in_process.run(
            """
            import os
            import pandaprobe_otel as pandaprobe
            with pandaprobe.session("s"), pandaprobe.start_trace("turn") as turn:
                with turn.span("step"), pandaprobe.start_trace("sub-agent"): pass
                tell(before=pandaprobe.get_client().stats().sent)
            tell(after=pandaprobe.get_client().stats().sent)
            """,
            PANDAPROBE_ENDPOINT=receiver.url,
            PANDAPROBE_FLUSH_INTERVAL="600",
            PANDAPROBE_FLUSH_ON_TRACE_END="true",
        )
    assert ended.told == {"before": 0, "after": 3}


def test_log_records_of_the_global_provider_are_stamped() -> None:
    ended = in_process.run(
        """
        import pandaprobe_otel as pandaprobe
        from opentelemetry import _logs
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
        exporter = InMemoryLogRecordExporter()
        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        _logs.set_logger_provider(provider)
        pandaprobe.init(endpoint="http://127.0.0.1:9")
        with pandaprobe.session("s"):
            provider.get_logger("x").emit(body="hello")
        provider.force_flush()
        (record,) = exporter.get_finished_logs()
        tell(session=record.log_record.attributes["session.id"])
        """
    )
    assert ended.told == {"session": "s"}


def test_two_threads_that_start_at_once_start_one_client() -> None:
    with Receiver() as receiver:
        in_process.run(
            """
            import threading
            import pandaprobe_otel as pandaprobe
            gate = threading.Barrier(8)
            def work():
                gate.wait()
                with pandaprobe.start_trace("ours"): pass
            threads = [threading.Thread(target=work) for _ in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            assert pandaprobe.flush()
            """,
            PANDAPROBE_ENDPOINT=receiver.url,
        )
    assert len(receiver.spans) == 8


def test_stamp_of_our_own_is_seen_by_no_other_exporter_and_arrives_all_the_same() -> None:
    """On the entry of a turn and below it, on a span that `set_session` joins, and on one left open."""
    with Receiver() as receiver:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            from opentelemetry import context, trace
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
            theirs = InMemorySpanExporter()
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(theirs))
            trace.set_tracer_provider(provider)
            pandaprobe.init(endpoint="{receiver.url}", stamp="own")
            tracer = trace.get_tracer("theirs")
            with tracer.start_as_current_span("joined") as joined:
                pandaprobe.set_session("set")
                pandaprobe.set_session(None)
                tracer.start_span("below").end()
            with pandaprobe.session("s"), pandaprobe.user("u"), pandaprobe.start_trace("turn") as turn:
                tracer.start_span("step", attributes={{"mine": 1}}).end()
                tracer.start_span("their own", attributes={{"session.id": "theirs"}}).end()
                tracer.start_span("open")
            pandaprobe.shutdown()
            ids = ("session.id", "user.id", "pandaprobe.trace.id")
            tell(
                turn=turn.trace_id,
                theirs={{span.name: [key for key in ids if key in span.attributes]
                        for span in theirs.get_finished_spans()}},
            )
            """
        )
    assert ended.told["theirs"] == {
        "joined": [],
        "below": [],
        "turn": [],
        "step": [],
        "their own": ["session.id"],
    }
    turn = {"session.id": "s", "user.id": "u", "pandaprobe.trace.id": ended.told["turn"]}
    arrived = {span.name: attributes_of(span) for span in receiver.spans}
    assert arrived["joined"]["session.id"] == arrived["below"]["session.id"] == "set"
    for name in ("turn", "step", "open"):
        assert turn.items() <= arrived[name].items()
    assert arrived["step"]["mine"] == 1
    assert arrived["their own"]["session.id"] == "theirs"


def test_what_was_stamped_on_a_span_is_counted_with_what_it_lost_when_kept_aside() -> None:
    with Receiver() as receiver:
        in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            pandaprobe.init(endpoint="{receiver.url}", stamp="own")
            with pandaprobe.session("s"):
                span = trace.get_tracer("theirs").start_span("large")
                for number in range(130):
                    span.set_attribute(f"key {{number}}", number)
                span.end()
            pandaprobe.flush()
            """
        )
    span = receiver.span("large")
    assert attributes_of(span)["session.id"] == "s"
    # One less than with the stamp on it.
    assert span.dropped_attributes_count == 2


def test_log_records_are_left_alone_where_only_our_exporter_is_to_see_the_stamp() -> None:
    ended = in_process.run(
        """
        import pandaprobe_otel as pandaprobe
        from opentelemetry import _logs
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
        exporter = InMemoryLogRecordExporter()
        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        _logs.set_logger_provider(provider)
        pandaprobe.init(endpoint="http://127.0.0.1:9", stamp="own")
        with pandaprobe.session("s"):
            provider.get_logger("x").emit(body="hello")
        provider.force_flush()
        (record,) = exporter.get_finished_logs()
        tell(attributes=sorted(record.log_record.attributes or ()))
        """
    )
    assert ended.told == {"attributes": []}
