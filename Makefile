# Every target sets up what it needs: once, into .venv, and from the lock files. See docs/decisions/0002.
VENV := .venv
PY := $(VENV)/bin/python
HOST ?= 127.0.0.1
PORT ?= 9292
# Where `make serve` keeps its state.
DATA ?= var/serve
# More words for the program behind a target, e.g. make test ARGS='-k lease -x'.
ARGS ?=

# What the client commands need to be told when the service is not where they look for it.
WHERE = $(if $(filter 127.0.0.1:9292,$(HOST):$(PORT)),, --url http://$(HOST):$(PORT))
EXAMPLE := https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-nocloud-amd64.qcow2

export URL DATA

.DEFAULT_GOAL := help
.PHONY: help demo serve test check fmt bench lock servers runtime dev

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

demo: runtime ## Import a disk from a URL and one from a file, copy, and verify, all from nothing (URL=… imports that)
	@$(VENV)/bin/tranship demo $${URL:+"$$URL"} $(ARGS)

serve: runtime ## Keep a service running here (HOST=, PORT=, DATA=)
	@echo "Once it says ready, try in another terminal:"
	@echo "  $(VENV)/bin/tranship stores$(WHERE)"
	@echo "  $(VENV)/bin/tranship import $(EXAMPLE) --all-stores --watch$(WHERE)"
	@echo "  $(VENV)/bin/tranship list$(WHERE)"
	@exec $(VENV)/bin/tranship serve --host $(HOST) --port $(PORT) --data "$$DATA" $(ARGS)

test: dev servers ## Run all tests, with real servers of their own (ARGS='-k name')
	@TRANSHIP_REQUIRE_SERVERS=1 $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: dev ## Formatting, lint, types, and who may import whom
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

fmt: dev ## Format and mend what can be mended
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

bench: dev servers ## Measure an import beside curl | tee | openssl on the same files, and the API
	@$(PY) -m bench $(ARGS)

lock: dev ## Write the lock files anew from pyproject.toml (UPGRADE=1 moves every pin)
	@setup/lock

# --- set-up: each stamp is the proof that a step was done with these files ---------------------------------

runtime: $(VENV)/project.stamp

dev: $(VENV)/dev.stamp $(VENV)/project.stamp

# Looks on every run: what is there may have been removed, and looking takes no time.
servers:
	@setup/servers

$(VENV)/runtime.stamp: requirements.lock setup/venv
	@setup/venv runtime
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/runtime.stamp
	@setup/venv dev
	@touch $@

$(VENV)/project.stamp: pyproject.toml $(VENV)/runtime.stamp
	@setup/venv project
	@touch $@
