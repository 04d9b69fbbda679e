"""`score`: checked at the call, sent like a span."""

from typing import Any
from uuid import UUID

import in_process
import pytest
from otlp_receiver import Receiver
from pandaprobe_schemas import check

import pandaprobe_otel as pandaprobe

ID = UUID(int=7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "not an id"},
        {"name": ""},
        {"value": "high"},
        {"value": float("nan")},
        {"value": True},
        {"value": "maybe", "data_type": "BOOLEAN"},
        {"data_type": "STARS"},
    ],
)
def test_wrong_scores_are_refused_at_the_call(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"score|trace id"):
        pandaprobe.score(**{"trace_id": ID, "name": "helpfulness", "value": 0.5, **wrong})


def test_score_is_sent_as_pandaprobe_takes_it_and_again_until_it_has_the_trace() -> None:
    answers = [(404, {}, b""), (500, {}, b"")]
    with Receiver(*answers) as receiver:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            pandaprobe.init(endpoint="{receiver.url}")
            pandaprobe.score("{ID}", "helpfulness", 0.5, reason="kind", metadata={{"by": "me"}})
            pandaprobe.score("{ID}", "polite", True, data_type="BOOLEAN")
            tell(flushed=pandaprobe.flush(20))
            """
        )
    assert ended.told == {"flushed": True}
    assert set(receiver.paths) == {"/evaluations/trace-scores"}
    assert len(receiver.paths) == 4
    last = {body["name"]: body for body in receiver.bodies}
    assert last["helpfulness"] == {
        "trace_id": str(ID),
        "name": "helpfulness",
        "value": "0.5",
        "data_type": "NUMERIC",
        "source": "PROGRAMMATIC",
        "reason": "kind",
        "metadata": {"by": "me"},
    }
    assert last["polite"]["value"] == "true"
    for body in last.values():
        check(body, "CreateTraceScoreRequest")


def test_what_a_score_says_in_words_is_redacted() -> None:
    with Receiver() as receiver:
        in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            redact = lambda key, value: f"{{key}} without {{len(value)}}"
            pandaprobe.init(endpoint="{receiver.url}", redact=redact)
            pandaprobe.score("{ID}", "helpfulness", 0.5, reason="secret", metadata={{"by": "me"}})
            pandaprobe.flush(20)
            """
        )
    (body,) = receiver.bodies
    assert (body["reason"], body["metadata"]) == ("score.reason without 6", {"by": "by without 2"})
    assert (body["name"], body["value"]) == ("helpfulness", "0.5")


def test_score_without_a_client_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDAPROBE_ENABLED", "false")
    pandaprobe.score(ID, "helpfulness", 1)
