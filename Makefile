# Needs git, make and a Python >= 3.11 with venv (make PYTHON=python3.13 … to choose one). All else comes hash-checked from the locks.
PYTHON ?= python3
IMAGE ?= failover-connector:dev
ARGS ?=
FLOWS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
SELF := pyproject.toml connector/__init__.py

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test kafka mutants chaos chaos-short check lint types architecture coverage deploy-check repo-check docs-check docs fmt rolling simulate-seeds bench-claim bench-takeover bench-callbacks lock image image-check clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Run the connector against a simulated Routee and an in-process Kafka (ARGS="--events 500")
	@$(BIN)/failover-connector demo $(ARGS)

test: $(VENV)/.dev ## Run all tests, those on a real Kafka included (ARGS="-k lane" to choose)
	@$(BIN)/python -m pytest -q $(ARGS)

mutants: $(VENV)/.dev ## Plant each known bug in a copy and see that the tests catch it (ARGS="--only lease" for some)
	@$(BIN)/python -m tests.mutants $(ARGS)

kafka: $(VENV)/.dev ## Start a Kafka to try things on (with Docker, or with java and Maven), and tell its address; Ctrl-C ends it
	@$(BIN)/python -m tests.kafka

chaos: $(VENV)/.dev ## Break everything for 35 minutes on a real Kafka, and prove that nothing was lost or doubled (ARGS="--seed 2")
	@$(BIN)/python -m tests.chaos --minutes 35 --rate 160 --report build/chaos.json $(ARGS)

chaos-short: $(VENV)/.dev ## The same in less than 4 minutes, every kind of fault once
	@$(BIN)/python -m tests.chaos --minutes 1.5 --rate 60 --report build/chaos-short.json $(ARGS)

check: lint types architecture coverage deploy-check repo-check docs-check ## Run all gates: lint, types, layers, coverage, chart, locks, docs
	@echo "check: all gates passed"

lint: $(VENV)/.dev ## Lint Python and the Dockerfile, and check the formatting
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/hadolint Dockerfile

types: $(VENV)/.dev ## Type-check code, tests and scripts
	@$(BIN)/mypy --no-error-summary

architecture: $(VENV)/.dev
	@$(BIN)/python -m pytest -q --no-header tests/test_architecture.py

coverage: $(VENV)/.dev
	@$(BIN)/coverage run --source=connector/core -m pytest -q --no-header --hypothesis-profile=ci tests/unit
	@$(BIN)/coverage report --fail-under=100

deploy-check: $(VENV)/.dev
	@$(BIN)/python scripts/check_chart.py

repo-check: $(VENV)/.dev
	@$(BIN)/python scripts/check_repo.py

docs-check: $(VENV)/.dev
	@$(BIN)/python scripts/docs.py --check

docs: $(VENV)/.dev ## Write the generated parts of README.md and docs/
	@$(BIN)/python scripts/docs.py

rolling: $(VENV)/.dev ## Restart workers 50 times under load, on a real Kafka: no doubt, no loss, no double (ARGS="--restarts 10")
	@$(BIN)/python -m tests.acceptance.rolling $(ARGS)

simulate-seeds: $(VENV)/.dev ## Play N simulated runs full of kills and lost replies (N=10000, ARGS="--first 5000 --jobs 4"; one again, step by step: ARGS="--replay SEED --trace")
	@$(BIN)/python -m tests.simulation --seeds $(or $(N),1000) $(ARGS)

bench-claim: $(VENV)/.dev ## Measure how fast, and in how much memory, a lane is claimed (ARGS="--settled 100000")
	@$(BIN)/python -m tests.bench.claim $(ARGS)

bench-takeover: $(VENV)/.dev ## Measure how long a lane rests when its owner is killed or stopped (ARGS="--times 2")
	@$(BIN)/python -m tests.bench.takeover $(ARGS)

bench-callbacks: $(VENV)/.dev ## Measure the ingress under load, kills, forgery and slow sockets, and 100,000 flows through it (ARGS="--short", FLOWS=...)
	@$(BIN)/python -m tests.bench.callbacks --report build/callbacks.json $(ARGS)
	@$(BIN)/python -m tests.bench.flows --report build/flows.json $(FLOWS)

fmt: $(VENV)/.dev ## Format, and fix what the linter can fix
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

# Locks hold the hashes of every published file of a version, so one lock serves Python 3.11 to 3.13 on x86-64 and arm64. They are made
# with the oldest Python: it needs the most packages. No local wheel directory may leak its hashes into them.
COMPILE = env -u PIP_FIND_LINKS $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links $(ARGS)
lock: $(VENV)/.dev ## Make the three locks anew from pyproject.toml (ARGS=--upgrade for the newest versions)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "make lock needs Python 3.11: make clean lock PYTHON=python3.11")'
	@$(COMPILE) -o requirements.lock pyproject.toml
	@$(COMPILE) --only-build-deps --build-deps-for wheel -o requirements-build.lock pyproject.toml
	@$(COMPILE) --extra dev --build-deps-for editable -c requirements.lock -o requirements-dev.lock pyproject.toml

image: ## Build the container image (IMAGE=name:tag)
	docker build --tag $(IMAGE) --build-arg VERSION="$$(git describe --tags --always --dirty)" --build-arg REVISION="$$(git rev-parse HEAD)" .

image-check: $(VENV)/.dev ## Build the image and try it with Kafka and the simulator (needs Docker)
	@$(BIN)/python scripts/check_image.py

clean: ## Remove the environment and all caches
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build dist

# ---------------------------------------------------------------------------------------------------------------- environment
$(VENV)/.made:
	@$(PYTHON) scripts/make_venv.py $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements.lock requirements-build.lock $(SELF)
	@echo "installing what runs into $(VENV) (once) …" >&2
	@$(PIP) install --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "installing what tests and checks into $(VENV) (once) …" >&2
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
