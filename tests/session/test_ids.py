"""What can be an id, and what becomes of what cannot."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.session.validation import MAX_ID_LENGTH, clean_id


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("conversation-123", "conversation-123"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (42, "42"),
        ("a b+c%d,e;f 😀 שלום", "a b+c%d,e;f 😀 שלום"),
        ("x" * 255, "x" * 255),
    ],
)
def test_usable_ids_are_kept(given: Any, kept: str, caplog: pytest.LogCaptureFixture) -> None:
    assert clean_id(given, "session") == kept
    assert not caplog.records


@pytest.mark.parametrize("given", [1.5, True, b"bytes", ["list"], object()])
@pytest.mark.parametrize(
    "call", [pandaprobe.session, pandaprobe.user, pandaprobe.set_session, pandaprobe.set_user]
)
def test_other_types_are_refused_at_the_call(call: Any, given: Any) -> None:
    with pytest.raises(TypeError, match=r"a str, a uuid\.UUID or an int, not"):
        call(given)


def test_long_ids_stay_different(caplog: pytest.LogCaptureFixture) -> None:
    first, second = (clean_id("x" * 300 + end, "session") for end in "ab")
    assert first
    assert second
    assert len(first) == len(second) == MAX_ID_LENGTH
    assert first[:200] == "x" * 200
    assert first != second
    assert len(caplog.records) == 1


@pytest.mark.parametrize("given", ["a\x00b", "a\nb", "a\ud800b", "a\x85b"])
def test_control_characters_are_replaced(given: str, caplog: pytest.LogCaptureFixture) -> None:
    assert clean_id(given, "session") == "a\N{REPLACEMENT CHARACTER}b"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("given", ["", "  "])
def test_empty_ids_are_ignored_with_one_warning(given: str, caplog: pytest.LogCaptureFixture) -> None:
    assert clean_id(given, "user") is None
    assert clean_id(given, "user") is None
    assert len(caplog.records) == 1


def test_slash_is_kept_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert clean_id("a/b", "session") == clean_id("a/b", "session") == "a/b"
    assert len(caplog.records) == 1


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_becomes_an_id_that_pandaprobe_takes(text: str) -> None:
    kept = clean_id(text, "session")
    if kept is None:
        assert not text.strip()
    else:
        assert 0 < len(kept) <= MAX_ID_LENGTH
        kept.encode()
        assert "\x00" not in kept
        assert clean_id(kept, "session") == kept


def test_no_id_is_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    for id in ("secret/1", "secret\x00", "secret" * 100):
        clean_id(id, "session")
    assert "secret" not in caplog.text
