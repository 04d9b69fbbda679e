"""Settings: which source wins, and what is said of a value that cannot be read."""

import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.settings import Settings, SettingsKeywords, explain, is_loopback, options, resolve

OTEL = {
    "enabled": ("OTEL_SDK_DISABLED", "true", False),
    "debug": ("OTEL_LOG_LEVEL", "DEBUG", True),
    "batch_size": ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "77", 77),
    "flush_interval": ("OTEL_BSP_SCHEDULE_DELAY", "2500", 2.5),
    "max_queue_size": ("OTEL_BSP_MAX_QUEUE_SIZE", "777", 777),
    "timeout": ("OTEL_EXPORTER_OTLP_TIMEOUT", "7", 7.0),
}
OURS = {
    "api_key": ("sk", "sk"),
    "project_name": ("p", "p"),
    "endpoint": ("http://127.0.0.1:4318/", "http://127.0.0.1:4318"),
    "environment": ("staging", "staging"),
    "release": ("1.2", "1.2"),
    "enabled": ("no", False),
    "debug": ("Yes", True),
    "batch_size": ("99", 99),
    "flush_interval": ("0.5", 0.5),
    "max_queue_size": ("999", 999),
    "timeout": ("9", 9.0),
    "shutdown_timeout": ("9", 9.0),
    "handle_sigterm": ("off", False),
    "protocol": ("REST", "rest"),
    "partial_after": ("9", 9.0),
    "traces_per_minute": ("9", 9),
    "max_request_bytes": ("999", 999),
    "flush_on_trace_end": ("yes", True),
    "spool_dir": ("off", "off"),
    "spool_max_bytes": ("999", 999),
    "export": ("GenAI", "genai"),
    "session_sample_rate": ("0.25", 0.25),
    "redact": ("json:dumps", json.dumps),
    "capture_content": ("no", False),
    "max_media_bytes": ("999", 999),
    "stamp": ("own", "own"),
    "propagate_to": ("api.example.com, .internal.example.com", ("api.example.com", ".internal.example.com")),
    "trust_incoming": ("yes", True),
}


def test_every_option_is_tried_here() -> None:
    assert {option.keyword for option in options()} == set(OURS)


def test_keywords_for_type_checkers_are_the_options() -> None:
    assert list(SettingsKeywords.__annotations__) == [item.name for item in fields(Settings)]


def test_variables_are_named_after_their_keywords() -> None:
    assert all(option.env == f"PANDAPROBE_{option.keyword.upper()}" for option in options())


@pytest.mark.parametrize("keyword", OURS)
def test_variable_of_ours_wins_over_the_default(keyword: str) -> None:
    text, value = OURS[keyword]
    default = getattr(resolve(environ={}), keyword)
    assert value != default
    assert getattr(resolve(environ={f"PANDAPROBE_{keyword.upper()}": text}), keyword) == value


@pytest.mark.parametrize("keyword", OTEL)
def test_variable_of_opentelemetry_wins_over_the_default_only(keyword: str) -> None:
    name, text, value = OTEL[keyword]
    assert getattr(resolve(environ={name: text}), keyword) == value
    ours_text, ours = OURS[keyword]
    environ = {name: text, f"PANDAPROBE_{keyword.upper()}": ours_text}
    if keyword in ("enabled", "debug"):
        environ[name] = {"enabled": "false", "debug": "info"}[keyword]
    assert getattr(resolve(environ=environ), keyword) == ours


@pytest.mark.parametrize("keyword", OURS)
def test_keyword_wins_over_everything(keyword: str) -> None:
    _, value = OURS[keyword]
    others = {
        "endpoint": "http://other",
        "protocol": "otlp",
        "export": "all",
        "redact": "json:loads",
        "stamp": "all",
    }
    other = {f"PANDAPROBE_{keyword.upper()}": others.get(keyword, "1")}
    assert getattr(resolve({keyword: value}, other), keyword) == value


@pytest.mark.parametrize("keyword", OURS)
def test_none_and_empty_count_as_not_given(keyword: str) -> None:
    default = getattr(resolve(environ={}), keyword)
    assert getattr(resolve({keyword: None}, {f"PANDAPROBE_{keyword.upper()}": " "}), keyword) == default


WRONG = [
    ("enabled", "maybe", "true, false, 1, 0, yes, no, on or off"),
    ("batch_size", "ten", "a whole number from 1"),
    ("batch_size", "0", "a whole number from 1"),
    ("flush_interval", "-1", "a number of seconds above 0"),
    ("timeout", "nan", "a number of seconds above 0"),
    ("endpoint", "api.pandaprobe.com", "a URL with http:// or https:// and a host"),
    ("endpoint", "http://host:port", "a URL with http:// or https:// and a host"),
    ("protocol", "grpc", "auto, otlp or rest"),
    ("session_sample_rate", "2", "a number from 0 to 1"),
    ("redact", "no.such:function", "a function, in the environment as package.module:function"),
    ("redact", "json:nothing", "a function, in the environment as package.module:function"),
]


@pytest.mark.parametrize(("keyword", "text", "accepts"), WRONG)
def test_value_that_cannot_be_read_is_refused_with_what_is_accepted(
    keyword: str, text: str, accepts: str
) -> None:
    env = f"PANDAPROBE_{keyword.upper()}"
    with pytest.raises(ValueError, match=accepts) as refused:
        resolve(environ={env: text})
    assert str(refused.value) == f"{env}: {text!r} is not accepted; it takes {accepts}"
    with pytest.raises(ValueError, match=rf"init\({keyword}=…\)"):
        resolve({keyword: text}, {})


@pytest.mark.parametrize(("keyword", "text", "accepts"), WRONG)
def test_value_that_cannot_be_read_is_warned_of_without_code(
    keyword: str, text: str, accepts: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {f"PANDAPROBE_{keyword.upper()}": text}
    for _ in range(2):
        assert resolve(environ=environ, strict=False) == resolve(environ={})
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 1.5}, {"batch_size": True}, {"api_key": 7}, {"timeout": True}]
)
def test_keywords_of_another_type_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not accepted"):
        resolve(wrong, {})


def test_batches_fit_into_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"PANDAPROBE_BATCH_SIZE": "100", "PANDAPROBE_MAX_QUEUE_SIZE": "10"}
    with pytest.raises(ValueError, match="up to PANDAPROBE_MAX_QUEUE_SIZE"):
        resolve(environ=environ)
    assert resolve(environ=environ, strict=False).batch_size == 10


def test_unknown_keyword_is_refused_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="did you mean 'api_key'"):
        pandaprobe.init(apikey="x")  # type: ignore[call-arg]


def test_key_and_project_are_needed_away_from_loopback() -> None:
    with pytest.raises(ValueError, match=r"api_key \(PANDAPROBE_API_KEY\) and project_name"):
        pandaprobe.init()
    with pytest.raises(ValueError, match="project_name"):
        pandaprobe.init(api_key="k")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("x.localhost", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
    if host:
        endpoint = f"http://[{host}]:1" if ":" in host else f"http://{host}:1"
        assert bool(resolve({"endpoint": endpoint}, {}).missing) is not expected


def test_it_is_said_where_every_value_comes_from() -> None:
    environ = {"PANDAPROBE_RELEASE": "1", "OTEL_BSP_SCHEDULE_DELAY": "2500", "PANDAPROBE_TIMEOUT": "soon"}
    found = explain(environ)
    assert found["release"] == ("1", "PANDAPROBE_RELEASE", "")
    assert found["flush_interval"] == (2.5, "OTEL_BSP_SCHEDULE_DELAY", "")
    assert found["batch_size"] == (128, "default", "")
    wrong = "PANDAPROBE_TIMEOUT: 'soon' is not accepted; it takes a number of seconds above 0"
    assert found["timeout"] == (10.0, "default", wrong)
    assert {name: value for name, (value, _, _) in found.items()} == vars(
        resolve(environ=environ, strict=False)
    )


def test_secrets_are_not_shown() -> None:
    settings = resolve({"api_key": "sk_pp_secret"}, {})
    assert "secret" not in repr(settings)
    with pytest.raises(ValueError, match="<hidden>"):
        resolve({"api_key": 12345}, {})


def test_every_option_is_explained() -> None:
    for option in options():
        assert option.help.endswith(".")
        assert option.type_name
    assert "settings" in inspect.signature(pandaprobe.init).parameters
