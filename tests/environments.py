"""Clean environments, made by uv as a user would make them."""

import json
import subprocess
import sys
from pathlib import Path


def run_uv(*args: str, stdin: str | None = None) -> str:
    run = subprocess.run(["uv", "--quiet", *args], input=stdin, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"uv {' '.join(args)}\n{run.stderr}"
    return run.stdout


def resolve(*requirements: str) -> dict[str, str]:
    lines = run_uv(
        *("pip", "compile", "--no-annotate", "--no-header", "--python", sys.executable, "-"),
        stdin="\n".join(requirements),
    )
    return dict(line.split("==", 1) for line in lines.splitlines() if "==" in line)


def install(environment: Path, *requirements: str) -> dict[str, str]:
    run_uv("venv", "--python", sys.executable, str(environment))
    add(environment, *requirements)
    listed = json.loads(run_uv("pip", "list", "--format", "json", "--python", str(python_of(environment))))
    return {package["name"]: package["version"] for package in listed}


def add(environment: Path, *requirements: str) -> None:
    run_uv("pip", "install", "--python", str(python_of(environment)), *requirements)


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"
