"""PandaProbe joins the OpenTelemetry that was configured, by its own distro or by somebody else's."""

import logging
import os
from importlib import import_module
from typing import Any

from .. import runtime
from ..guard import never_raises
from ..settings import Settings, configure, resolve
from .client import start_from_environment

_logger = logging.getLogger("pandaprobe_otel.setup")


@never_raises
def attach() -> None:
    """Starts the client, where the environment or OpenTelemetry's configuration file speaks of PandaProbe.

    `opentelemetry-instrument` calls it last, whoever has set the provider; then integrations take the places
    of official instrumentations. Where a client runs already, it stays.
    """
    wanted = settings()
    if wanted.api_key or wanted.project_name or not wanted.missing:
        start_from_environment()
    # Which of its hooks Python finds first depends on files that others write; so there is one.
    runtime.all_have_begun()


def settings() -> Settings:
    """What the environment and the configuration file say."""
    if path := os.environ.get("OTEL_CONFIG_FILE"):
        configure(_block(path))
    return resolve(strict=False)


def _block(path: str) -> dict[str, Any]:
    """What the file says under `distribution.pandaprobe`."""
    try:
        config = import_module("opentelemetry.configuration").load_config_file(path)
        distributions: dict[str, dict[str, Any]] = config.distribution or {}
    except Exception as error:
        # Who configures the SDK from it says so.
        _logger.debug("OTEL_CONFIG_FILE cannot be read: %s", type(error).__name__)
        return {}
    block = distributions.get("pandaprobe", {})
    return {**block, "enabled": False} if config.disabled else block
