"""The command line: `pandaprobe-otel`, or `python -m pandaprobe_otel`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from textwrap import fill

from ._version import __version__
from .settings import options

_WIDTH = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Args:
        argv: Arguments after the program's name; those of the process when not given.
    """
    arguments = _parser().parse_args(argv)
    # A terminal without some letter shows another one, and does not end the program.
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")
    try:
        return arguments.run(arguments)
    except BrokenPipeError:
        # Whoever reads has enough, `head` for example. Python would fail once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        # What a shell reports for SIGINT.
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pandaprobe-otel",
        description="Agent sessions for OpenTelemetry, delivered to PandaProbe.",
        epilog=settings_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pandaprobe-otel {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="run a conversation and show the session that arrived")
    demo.set_defaults(run=_demo)

    doctor = commands.add_parser("doctor", help="say whether a span would arrive, and what to do")
    doctor.add_argument("--json", action="store_true", help="print the report as JSON")
    doctor.set_defaults(run=_doctor)

    local = commands.add_parser("local", help="run a PandaProbe on this machine")
    local.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    local.add_argument(
        "--port", type=int, default=4318, help="port; 0 takes a free one (default: %(default)s)"
    )
    local.add_argument(
        "--directory",
        type=Path,
        default=Path.home() / ".pandaprobe-otel" / "local",
        help="where traces are kept (default: %(default)s)",
    )
    local.add_argument(
        "--allow-remote", action="store_true", help="let other machines in; there is no authentication"
    )
    local.set_defaults(run=_local)

    bootstrap = commands.add_parser(
        "bootstrap", help="list the instrumentations that fit the installed LLM libraries"
    )
    bootstrap.add_argument(
        "--install", action="store_true", help="install the official ones that are missing"
    )
    bootstrap.set_defaults(run=_bootstrap)
    return parser


def settings_table() -> str:
    """Every setting, as `--help` ends with it."""
    entries = [
        "settings (environment variables; init() takes the same without PANDAPROBE_, in lower case):\n"
    ]
    for option in options():
        default = f", default {option.default_text}" if option.default_text else ""
        entries.append(f"  {option.env}  ({option.type_name}{default})")
        entries.append(fill(option.help, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(entries)


def _demo(_: argparse.Namespace) -> int:
    from .local import demo, tree

    try:
        session = demo.run(_say)
    except demo.DemoError as error:
        return _fail(str(error))
    drawing = tree.UNICODE if _can_print("├─└│·→…") else tree.ASCII
    _say("\n" + tree.render(session, drawing=drawing, width=_WIDTH))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from .doctor import examine

    report = examine()
    _say(json.dumps(report.as_json(), indent=2) if arguments.json else report.as_text())
    return 0 if report.arrives else 1


def _local(arguments: argparse.Namespace) -> int:
    try:
        from .local.server import serve

        serve(
            arguments.directory,
            arguments.host,
            arguments.port,
            allow_remote=arguments.allow_remote,
            on_start=lambda url: _say(
                f"PandaProbe listens on {url} and keeps its traces in {arguments.directory}\n"
                f"Send traces to it with PANDAPROBE_ENDPOINT={url}; stop it with Ctrl-C."
            ),
        )
    except (ImportError, ValueError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(
            f"cannot listen on {arguments.host}:{arguments.port} with {arguments.directory}: {error}"
        )
    return 0


def _bootstrap(arguments: argparse.Namespace) -> int:
    from .setup.bootstrap import install, survey

    found = survey(distributions())
    for line in found.lines or ["No library for LLMs is installed that an instrumentation is known for."]:
        _say(line)
    if not found.missing:
        return 0
    if not arguments.install:
        _say(
            f"\nInstall what is missing with `pandaprobe-otel bootstrap --install`: {' '.join(found.missing)}"
        )
        return 0
    try:
        return install(found.missing)
    except LookupError as error:
        return _fail(f"{error}; install {' '.join(found.missing)}")


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _say(text: str) -> None:
    # At once: what a child process prints next comes after it.
    print(text, flush=True)


def _fail(text: str) -> int:
    print(f"pandaprobe-otel: {text}", file=sys.stderr)
    return 1
