# `make demo` and `make test` set up everything they need. Needed before: git and
# Python 3.10 to 3.13. Without one of these on the PATH, uv downloads it.
PYTHON ?= >=3.10,<3.14
UV := $(shell command -v uv || echo .venv-uv/bin/uv)
export OMP_NUM_THREADS ?= 1
# Some images set it; then every process compiles MMPose anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# Run all steps of lint also where one fails.
MAKEFLAGS += --keep-going
# Each file in one process, in the tree's order: by number of tests, as
# pytest-xdist sorts them, the slow ones with few tests come last and alone.
PYTEST := .venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder \
    --max-worker-restart 0

.PHONY: help env requirements benchmark demo dist docs lint flake8 isort yapf codespell \
    lint-imports mypy check-promises fast-test test web web-test

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

env: $(UV)  ## Build the reference environment in .venv
	$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv
	$(UV) pip sync --quiet --only-binary :all: requirements/dev.txt
	@# Not editable: mim finds the configs of an installed package only.
	$(UV) pip install --quiet --no-deps .

.venv-uv/bin/uv:
	python3 -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet uv

RESOLVE := pip compile --quiet --universal --python-version 3.10 \
    --only-binary :all: --no-annotate pyproject.toml \
    --custom-compile-command 'make requirements' \
    --extra mmpose --group wheels

requirements: $(UV)  ## Resolve requirements/*.txt from pyproject.toml anew
	$(UV) $(RESOLVE) --upgrade --output-file requirements/dev.txt \
	    --extra export --extra predict --group dev
	$(UV) $(RESOLVE) --upgrade --output-file requirements/mmpose.txt \
	    --constraints requirements/dev.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 \
	    --only-binary :all: --no-annotate --group docs \
	    --custom-compile-command 'make requirements' \
	    --upgrade --output-file requirements/docs.txt

benchmark: env  ## Time everything in docs/benchmark.md, in an hour
	.venv/bin/python tools/benchmark_docs.py

demo: env  ## Train and test on rendered people, in some minutes
	.venv/bin/lgm-pose demo

# After node_modules as npm left it, nothing is installed again.
web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund

web: web/node_modules/.package-lock.json  ## Build the page of `lgm-pose web`; needs Node.js
	cd web && npm run build

web-test: env web  ## Lint and test the page, in Chromium where there is one
	cd web && npm run lint && npm test

dist:  ## Build sdist and wheel, and train from the wheel (URL=, TAG=)
	tools/check_dist.sh $(URL) $(TAG)

docs: $(UV)  ## Build the site in build/docs, and check its links
	$(UV) venv --quiet --allow-existing --python '>=3.11,<3.14' .venv-docs
	$(UV) pip sync --quiet --python .venv-docs --only-binary :all: \
	    requirements/docs.txt
	.venv-docs/bin/sphinx-build -W --keep-going -q -d build/doctrees docs build/docs

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
