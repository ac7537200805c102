# One obvious command per wish. `make help` lists them.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed
WORKERS ?= auto
# Compiled test files are kept in the environment, out of the checkout; a file's tests stay with one worker.
PYTEST := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(abspath $(VENV))/pycache $(BIN)/pytest
SPREAD := -m "not integration" -n $(WORKERS) --maxprocesses 8 --dist loadfile
# Unit tests write thousands of small files durably, which costs nothing in memory.
MEMORY := $(wildcard /dev/shm)

help: ## this list
	@grep -E '^[a-zA-Z0-9_-]+:.*?## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(SETUP): requirements.lock pyproject.toml deploy/bootstrap.sh
	@bash deploy/bootstrap.sh $(VENV)

setup: $(SETUP) ## the environment in .venv, from the lock

tools: $(SETUP) ## build or find CometBFT, its ABCI client, Kubernetes, helm, kustomize and a node's runtime
	@$(BIN)/python -m runtime.tools
	@$(BIN)/python -m runtime.node_programs

demo: $(SETUP) ## the whole story on four validators and a real Kubernetes API
	@$(BIN)/conclave demo

test: $(SETUP) tools lint types imports unit property vectors redteam process simulation integration ## everything that must hold

lint: $(SETUP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(SETUP)
	@$(BIN)/mypy

imports: $(SETUP)
	@$(BIN)/lint-imports

unit: export PYTEST_DEBUG_TEMPROOT := $(MEMORY)
unit: $(SETUP) ## unit tests and house rules: no sleep, no server of ours
	@$(PYTEST) $(SPREAD) tests/unit tests/test_tidy.py tests/test_requirements.py

property: $(SETUP) ## what holds for any input, on random ones, and the fuzz targets on their seeds
	@$(PYTEST) $(SPREAD) --dist worksteal tests/property tests/fuzz

vectors: $(SETUP) ## bytes and answers that others computed
	@$(PYTEST) $(SPREAD) tests/vectors

redteam: $(SETUP) ## what a lying node or quorum and hostile files achieve: nothing
	@$(PYTEST) $(SPREAD) --dist worksteal tests/redteam

process: $(SETUP) ## our own programs as processes: signals, streams, memory, deaths
	@$(PYTEST) $(SPREAD) --dist worksteal tests/process

simulation: $(SETUP) ## seeded replicas that crash, lag and restore, and sabotage that must be noticed
	@$(PYTEST) $(SPREAD) --dist worksteal tests/simulation

integration: $(SETUP) ## tests on real CometBFT and a real API server, one after another
	@$(PYTEST) -m integration -p no:randomly

proto: $(SETUP) ## regenerate ledger/pb from proto/
	@$(BIN)/python -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. proto/ledger/pb/*.proto

lock: ## resolve requirements.lock anew
	@uv pip compile --universal --generate-hashes --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

fuzz: $(SETUP) ## fuzz decoders, canonicaliser, envelope, proofs and light verifier, a minute each
	@$(BIN)/pip install --quiet --require-hashes -r deploy/fuzz.lock
	@for target in frames canonical envelope body proof light proof-file trust-log; do $(BIN)/python -m tests.fuzz $$target 60 || exit 1; done

campaign-simulation: SEED ?= 1
campaign-simulation: SEEDS ?= 1
campaign-simulation: BLOCKS ?= 2000
campaign-simulation: $(SETUP) ## simulated replicas: SEED=first SEEDS=how many BLOCKS=each
	@$(BIN)/python -m tests.simulation $(SEED) $(BLOCKS) $(SEEDS)

campaign-crash: N ?= 60
campaign-crash: SEED ?= 1
campaign-crash: $(SETUP) tools ## kill -9 N times under load on a real validator, with SEED
	@$(BIN)/python -m tests.campaign.crash $(N) $(SEED)

campaign-fuzz: N ?= 100000
campaign-fuzz: SEED ?= 1
campaign-fuzz: $(SETUP) ## N random and mutated transactions into the application, with SEED
	@$(BIN)/python -m tests.campaign.fuzz $(N) $(SEED)

campaign-verify: N ?= 1000000
campaign-verify: SEED ?= 1
campaign-verify: $(SETUP) ## N altered light blocks and state proofs, none of which may pass, with SEED
	@$(BIN)/python -m tests.campaign.verify $(N) $(SEED)

campaign-bridge: N ?= 100
campaign-bridge: SEED ?= 1
campaign-bridge: $(SETUP) tools ## N rounds of kills, hand edits and releases around two bridges, with SEED
	@$(BIN)/python -m tests.campaign.bridge $(N) $(SEED)

campaign-storage: N ?= 20000
campaign-storage: SEED ?= 1
campaign-storage: BYTES ?= 900
campaign-storage: $(SETUP) ## N times a damaged file, a full disk or a death at some byte of a state, with SEED
	@$(BIN)/python -m tests.campaign.storage $(N) $(SEED) $(BYTES)

bench-P1: $(SETUP) ## committed proposals/s against CometBFT's own Go kvstore
	@$(BIN)/python -m bench.p1

bench-P2: $(SETUP) ## final to applied
	@$(BIN)/python -m bench.p2

bench-P3: $(SETUP) ## headers and proofs verified/s against the Go light client and ics23
	@$(BIN)/python -m bench.p3

bench-P4: N ?= 500
bench-P4: $(SETUP) tools ## one release to N forked bridges on one ledger
	@$(BIN)/python -m bench.p4 --bridges $(N)

bench-objects: $(SETUP) tools ## 10,000 objects of one bridge beside 10,000 of nobody's
	@$(BIN)/python -m bench.ten_thousand

bench-P5: $(SETUP) ## the state from 1 k to 1 M keys against cosmos iavl
	@$(BIN)/python -m bench.p5

bench-P8: $(SETUP) ## what our chain adds to a bare mcp tool, over streams and HTTP
	@$(BIN)/python -m bench.p8

bench-reader: $(SETUP) ## a verified read end to end against the same query taken on trust
	@$(BIN)/python -m bench.reader

bench-guard: $(SETUP) ## what the guard adds to a call of 1 KB and 80 KB
	@$(BIN)/python -m bench.guard

bench-memory: $(SETUP) ## resident memory of application and bridge
	@$(BIN)/python -m bench.memory

.PHONY: help setup tools demo test lint types imports unit property vectors redteam process simulation integration proto lock fuzz campaign-simulation campaign-crash campaign-fuzz campaign-verify campaign-storage campaign-bridge bench-P1 bench-P2 bench-P3 bench-P4 bench-objects bench-P5 bench-P8 bench-reader bench-guard bench-memory
