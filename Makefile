# `make demo` and `make test` are the two commands of the README. Both set up
# everything they need in $(VENV) the first time.

VENV ?= .venv
NEWEST_VENV ?= .venv-newest
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# MovieLens ratings.csv for `make demo`; without it a generator is used.
DATA ?=
# More arguments for the demo, pytest, the benchmarks or the soak.
ARGS ?=
# Test files that run at once; 0 for one process without workers (for --pdb).
# Tests of processes wait more than they compute.
TEST_JOBS ?= $(shell echo $$(($$(nproc) + 1)))
# What Hypothesis starts from in `make soak`, and what `make chaos` draws from;
# to repeat a run, pass its seed.
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')

BIN := $(VENV)/bin
NEWEST_BIN := $(NEWEST_VENV)/bin
CC_FILES = $(shell find ops tests benchmarks -name '*.cc' -o -name '*.h' -o -name '*.c')
CC_SOURCES = $(shell find ops/cc -name '*.cc' -o -name '*.h')
# A file at a time, in the order of conftest.py.
PARALLEL = -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder
PACKAGES = $(shell find monolith_tf ops estimators serving -name __init__.py)
BAZEL ?= bazel

.DELETE_ON_ERROR:
.PHONY: help demo test test-fast test-newest test-install lint format cc-test \
	sanitize sanitize-threads bazel bazel-build bench soak chaos build clean

help:
	@echo 'make demo [DATA=path/to/ratings.csv]  train, export, serve, push deltas'
	@echo 'make test [ARGS="-k name"]            every test, C++ tests included'
	@echo 'make test-fast                        those that need no process, no C++'
	@echo 'make test-newest                      the same on the newest TensorFlow'
	@echo 'make test-install                     the installation that README shows'
	@echo 'make lint, make format                ruff and clang-format'
	@echo 'make cc-test, make sanitize           C++ tests; with ASan, UBSan, TSan'
	@echo 'make bazel                            the C++ and its tests with Bazel'
	@echo 'make bench, make soak                 measurements; a long run'
	@echo 'make chaos [SEED=n] [MINUTES=10]      faults drawn by dice'
	@echo 'make clean                            what builds leave behind'

# --- Environments -----------------------------------------------------------

# Root on Debian gets what is missing; anybody else is told the command.
apt_install = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	&& apt-get update -qq && apt-get install -y -qq $(1); }

define make_venv
@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	|| $(call apt_install,python3-venv) || true
@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	|| { echo 'The lock files are for Python 3.11 with venv and g++:' \
	'apt-get install python3.11-venv g++' \
	'(and PYTHON=/path/to/python3.11 if that is not what is found)'; exit 1; }
@command -v $${CXX:-g++} >/dev/null \
	|| { echo 'No C++ compiler found: apt-get install g++'; exit 1; }
@echo 'Setting up $(1) from $(2): some minutes, the first time only.'
$(PYTHON) -m venv $(1)
$(1)/bin/pip install --quiet --disable-pip-version-check -r $(2)
endef

$(BIN)/.requirements: requirements/locked.txt
	$(call make_venv,$(VENV),$<)
	@touch $@

$(NEWEST_BIN)/.requirements: requirements/newest.txt
	$(call make_venv,$(NEWEST_VENV),$<)
	@touch $@

# Editable: a change of Python needs no build, a change of C++ runs this again.
$(BIN)/.built: $(BIN)/.requirements setup.py pyproject.toml $(CC_SOURCES) \
		$(PACKAGES)
	@echo 'Compiling the op library: a minute or two.'
	$(BIN)/pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@touch $@

build: $(BIN)/.built

# --- The two commands -------------------------------------------------------

demo: build
	$(BIN)/python examples/demo.py $(if $(DATA),--data '$(DATA)') $(ARGS)

# pytest, not `python -m pytest`: that puts the root on sys.path.
test: build $(BIN)/.cc-tested
	$(BIN)/pytest $(PARALLEL) $(ARGS)

# Python in one process per worker: without marks of processes and of time.
test-fast: build
	$(BIN)/pytest $(PARALLEL) -m 'not e2e and not slow' $(ARGS)

# --- Others -----------------------------------------------------------------

# A wheel, not an editable install: the op library in ops/ belongs to $(VENV).
test-newest: $(NEWEST_BIN)/.requirements gtest
	$(NEWEST_BIN)/pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --force-reinstall .
	PYTHON=$(NEWEST_BIN)/python tests/cc/run.sh
	$(NEWEST_BIN)/pytest $(PARALLEL) $(ARGS)

# From nothing, for each TensorFlow that README names: gigabytes, and minutes of
# compiling. -s shows what pip is doing.
test-install: build
	$(BIN)/pytest -s tests/repo/install_from_readme.py $(ARGS)

.PHONY: gtest
gtest:
	@test -e /usr/include/gtest/gtest.h || $(call apt_install,libgtest-dev) \
	|| { echo 'The C++ tests need GoogleTest: apt-get install libgtest-dev'; \
	exit 1; }

lint: $(BIN)/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CC_FILES)

format: $(BIN)/.requirements
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CC_FILES)

cc-test: $(BIN)/.requirements gtest
	PYTHON=$(BIN)/python tests/cc/run.sh
	@touch $(BIN)/.cc-tested

# C++ that passed is not tested again.
$(BIN)/.cc-tested: $(BIN)/.requirements $(CC_SOURCES) $(wildcard tests/cc/*)
	$(MAKE) --no-print-directory cc-test

sanitize: $(BIN)/.requirements gtest
	PYTHON=$(BIN)/python tests/cc/run.sh address,undefined
	PYTHON=$(BIN)/python tests/cc/run.sh thread

# Of TSan only the tests that start threads.
THREADED = $(basename $(notdir \
	$(shell grep -lE 'std::thread|workers\.h' tests/cc/*_test.cc)))
sanitize-threads: $(BIN)/.requirements gtest
	PYTHON=$(BIN)/python tests/cc/run.sh address,undefined
	PYTHON=$(BIN)/python tests/cc/run.sh thread $(THREADED)

# A target per folder that includes nothing of TensorFlow.
BAZEL_CORE = $(patsubst ops/cc/%/,//:%, \
	$(filter-out %/kernels/ %/registrations/,$(wildcard ops/cc/*/)))
BAZEL_FLAGS = --repo_env=MONOLITH_TF_PYTHON=$(abspath $(BIN)/python)
bazel: bazel-build
	$(BAZEL) test //... $(BAZEL_FLAGS)
	$(BAZEL) shutdown

# Compiles the core without optimization, so that a wrong include fails, and
# analyzes every other target.
bazel-build: $(BIN)/.requirements gtest
	@command -v $(BAZEL) >/dev/null || { echo \
	'No Bazel found: apt-get install bazel-bootstrap'; exit 1; }
	@mkdir -p .build
	$(BAZEL) build --nobuild //... $(BAZEL_FLAGS)
	$(BAZEL) build $(BAZEL_CORE) --compilation_mode=fastbuild $(BAZEL_FLAGS)
	$(BAZEL) shutdown

# ARGS go to the op benchmark, FIT_ARGS to the one of Keras fit,
# PS_ARGS to fit on parameter servers, CC_ARGS to the core's own benchmark.
bench: build
	PYTHON=$(BIN)/python benchmarks/cc/run.sh $(CC_ARGS)
	PYTHON=$(BIN)/python PROGRAM=pause_benchmark benchmarks/cc/run.sh
	$(BIN)/python benchmarks/table.py $(ARGS)
	$(BIN)/python benchmarks/capped_memory.py
	$(BIN)/python benchmarks/served_memory.py
	$(BIN)/python benchmarks/keras_fit.py $(FIT_ARGS)
	$(BIN)/python benchmarks/parameter_server.py $(PS_ARGS)

# Those that draw examples with Hypothesis.
PROPERTIES = $(shell grep -rl 'import hypothesis\|from hypothesis' tests \
	--include='*_test.py' | grep -v tests/repo)
soak: SEED := $(SEED)
soak: build gtest
	$(BIN)/python experiments/soak.py $(ARGS)
	$(BIN)/python experiments/soak_training.py $(ARGS)
	$(BIN)/pytest $(PARALLEL) -m soak
	MONOLITH_TF_KILLS=20 $(BIN)/pytest tests/e2e/unattended_training_test.py \
		tests/e2e/exact_sum_test.py tests/e2e/estimator_kills_test.py
	MONOLITH_TF_FUZZ_REQUESTS=1000 $(BIN)/pytest tests/ops/worker_fuzz_test.py
	$(BIN)/pytest --hypothesis-seed=$(SEED) $(PROPERTIES)
	MONOLITH_TF_MEMORY_ROWS=5000000 PYTHON=$(BIN)/python tests/cc/run.sh none \
		memory_return_test

# Real processes and random faults (docs/robustness.md).
MINUTES ?= 10
chaos: SEED := $(SEED)
chaos: build
	PYTHONPATH=tests/harness:tests/chaos TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python -P tests/chaos/chaos.py --seed=$(SEED) \
		--minutes=$(MINUTES) $(ARGS)

clean:
	rm -rf .build build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	rm -f ops/_monolith_ops.so ops/_build_info.py $(BIN)/.built $(BIN)/.cc-tested bazel-out
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
