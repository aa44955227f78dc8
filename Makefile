# make setup        .venv with the pinned dependencies and this checkout
# make bench        every built-in method on the digits of scikit-learn: records, tables, plots and cards under runs/bench
# make test         the tests; JOBS=4 runs four at a time
# make lint types   style and type checks
# make leaderboard  draws the committed tables, plots and cards again from the records under results/
# make soak         the tests that take long: every method broken at every point, killed at random moments, and resumed
# make check        all that the continuous integration runs
#
# TORCH_INDEX=URL   takes torch and torchvision from that package index: PyTorch's own pages name one for CPU builds
#                   and one for each CUDA version. Without it pip looks where it looks for everything else.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
TORCH_INDEX ?=
BENCH ?= runs/bench

BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# One thread per worker, asleep rather than spinning while it waits: two workers on two cores do not slow each other.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: setup bench test lint types leaderboard soak check
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifneq ($(TORCH_INDEX),)
	$(PIP) install --quiet --index-url "$(TORCH_INDEX)" --constraint constraints.txt torch torchvision
endif
	$(PIP) install --quiet --constraint constraints.txt setuptools
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[test]'
	touch $@

# One thread: networks this small gain nothing from a second one, and the records are the same on every machine's cores.
# Transfer first, since the leaderboard that the last line prints shows it too.
bench: setup
	set=$$($(BIN)/condense distill krr_st --dataset 'digits[0-4]' --ipc 10 --preset cpu --threads 1) && \
	  $(BIN)/condense transfer "$$set" --targets 'digits[5-9]' --threads 1 --results $(BENCH)/results
	$(BIN)/condense bench --dataset digits --ipc 10 --protocol quick --threads 1 --results $(BENCH)/results

test: setup
	$(PYTEST)

soak: setup
	$(PYTEST) -m soak --timeout 3600

lint: setup
	$(BIN)/ruff check .

types: setup
	rm -rf build/typecheck
	mkdir -p build/typecheck/condense
	ln -s $(CURDIR)/condense/* $(CURDIR)/methods $(CURDIR)/evaluate build/typecheck/condense/
	cd build/typecheck && $(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --package condense

leaderboard: setup
	$(BIN)/condense leaderboard

check:
	.ci/run
