# Each target installs what it needs into .venv on first use.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check fix bench

demo: $(READY)                  # the whole chain on this machine, then a report
	$(BIN)/xinglin run recipes/tiny.yaml --out runs/demo

test: $(READY)                  # every test; `make test UNIT=1` leaves out the slow ones
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow"
	$(if $(UNIT),,$(BIN)/pytest -m slow)

check: $(READY)                 # lint, types, and who may import whom
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

fix: $(READY)                   # what can be formatted and repaired by itself
	$(BIN)/ruff check --fix src tests benchmarks examples
	$(BIN)/ruff format src tests benchmarks examples

bench: $(READY)                 # speed and memory beside other trainers
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/training.py sft
	$(BIN)/python benchmarks/training.py dpo --rows 24

# torch first and pinned: where a CPU build is at hand, that one is taken.
$(READY): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	$(BIN)/pip install --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps --editable .
	touch $@
