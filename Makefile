# make run     set up and run: in front of HKPGUARD_UPSTREAM if it is set, else the demo keyserver
# make test    set up and run all tests
# The rest is for developers: setup, check (lint, types, test), bench, record, fuzz, sanitize, lock, clean.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(shell find proxy fastpath models -name '*.pyx' -o -name '*.pxd')

.PHONY: run test setup check lint types unit integration bench train record fuzz sanitize lock clean

run: $(VENV)/run.stamp
	@if [ -n "$$HKPGUARD_UPSTREAM" ]; then exec $(BIN)/hkpguard serve; else exec $(BIN)/hkpguard demo; fi

# Both at once: integration tests wait more than they compute, three at a time; the others take what is left of all cores.
test: setup
	@deploy/packages test
	@$(MAKE) --jobs=2 --output-sync=target unit integration

setup: $(VENV)/dev.stamp

check: lint types test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

# The benchmarks' plugin wants to be told that it is not needed.
unit: setup
	nice -n 19 $(BIN)/python -m pytest -m "not integration" --numprocesses auto --benchmark-disable

integration: setup
	@deploy/packages test
	$(BIN)/python -m pytest -m integration --numprocesses 3 --dist loadfile

bench: setup
	@deploy/packages test
	$(BIN)/python -m bench

# make record RECORD="--out ~/recording --only gpg,scraper"; without: all, a quarter of an hour, into ../recording
RECORD ?= --out ../recording
record: setup
	@deploy/packages record
	$(BIN)/python -m bench record $(RECORD)

# make fuzz FUZZ="--inputs 50000000", FUZZ="--seconds 600 chunks", ...; without: two minutes
fuzz: $(VENV)/fuzz.stamp
	$(BIN)/python -m tests.fuzz.run $(FUZZ)

# makes the models that are shipped of the tables beside them (models/data), bit for bit
train: setup
	$(BIN)/python -m models.training train

sanitize: setup
	$(BIN)/python -m tests.fuzz.sanitize $(SANITIZE)

$(VENV)/venv.stamp:
	@deploy/packages build
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/venv.stamp requirements/runtime.lock requirements/build.lock pyproject.toml setup.py $(SOURCES)
	$(PIP) install --require-hashes -r requirements/build.lock -r requirements/runtime.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.lock
	$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/fuzz.stamp: $(VENV)/dev.stamp requirements/fuzz.lock
	-$(PIP) install --require-hashes --only-binary :all: -r requirements/fuzz.lock
	@touch $@

LOCK := uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	--python-version 3.11
lock:
	$(LOCK) pyproject.toml -o requirements/runtime.lock
	$(LOCK) --group build -o requirements/build.lock
	$(LOCK) pyproject.toml --group dev --extra train --extra forecast -o requirements/dev.lock
	$(LOCK) --group fuzz -o requirements/fuzz.lock

clean:
	rm -rf build dist *.egg-info $(VENV)
	find proxy fastpath models bench -name '*.c' -delete -o -name '*.so' -delete
