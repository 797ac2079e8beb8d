# `make demo` and `make test` set up everything they need. Needed before:
# git, a C++ compiler, Python 3.11 with its headers.
PYTHON ?= python3.11
UV := $(shell command -v uv || echo .venv-uv/bin/uv)
# A folder with a ready mmcv wheel spares its build (UV_FIND_LINKS=folder).
export OMP_NUM_THREADS ?= 1
# Some images set it; then every process compiles MMPose anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# Run all steps of lint also where one fails.
MAKEFLAGS += --keep-going
PYTEST := .venv/bin/pytest -n 2 --dist loadfile --max-worker-restart 0

.PHONY: help env benchmark demo dist lint flake8 isort yapf codespell \
    lint-imports mypy check-promises fast-test test

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

env: $(UV)  ## Build the reference environment in .venv
	@# Not editable: mim finds the configs of an installed package only.
	$(UV) sync --python $(PYTHON) --no-editable \
	    --reinstall-package lgm_pose_plugin

.venv-uv/bin/uv:
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet uv

benchmark: env  ## Time everything in docs/benchmark.md, in half an hour
	.venv/bin/python tools/benchmark_docs.py

demo: env  ## Train and test on rendered people, in some minutes
	.venv/bin/lgm-pose demo

dist:  ## Build sdist and wheel, and train from the wheel (URL=, TAG=)
	tools/check_dist.sh $(URL) $(TAG)

# Each step is a target, whose name make prints where it fails.
lint: flake8 isort yapf codespell lint-imports mypy check-promises  ## Check style, imports, types and the page of promises

flake8 codespell lint-imports mypy: env
	.venv/bin/$@

isort: env
	.venv/bin/isort --check-only --diff configs lgm_pose_plugin tests tools

yapf: env
	.venv/bin/yapf --diff --recursive --parallel configs lgm_pose_plugin tests tools

check-promises: env
	.venv/bin/python tools/promises.py --check

fast-test: env  ## Run the tests that take seconds
	$(PYTEST) -m 'not e2e'

test: lint  ## Lint, then run all tests
	$(PYTEST)
