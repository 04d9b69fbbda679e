"""The names of the environment variables, for programs that list those of OpenTelemetry's packages."""

from .options import options

globals().update({option.env: option.env for option in options()})
