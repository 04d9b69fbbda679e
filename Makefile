# `make demo` needs no key and no account; `make test` is what CI runs. Each makes what it runs in.
PYTHON ?= python3
JOBS ?= 2
UV = .tools/bin/uv --quiet

.PHONY: demo test clean

demo: .venv/installed
	@.venv/bin/pandaprobe-otel demo

test: .tools/installed
	@.tools/bin/nox --parallel $(JOBS)
	@cat build/reports/total.txt

clean:
	@rm -rf .venv .tools .nox build dist .coverage* .hypothesis .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed: .tools/installed pyproject.toml README.md $(shell find pandaprobe_otel examples -type f -not -name '*.pyc')
	@test -x .venv/bin/python || $(UV) venv --python .tools/bin/python .venv
	@$(UV) pip install --python .venv/bin/python --reinstall-package pandaprobe-otel '.[openai,local]'
	@touch $@

.tools/installed: Makefile
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 10) and sys.exit("Python 3.10 or newer is needed: make PYTHON=...")'
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip --disable-pip-version-check --quiet install --upgrade 'nox>=2026.10' uv
	@touch $@
