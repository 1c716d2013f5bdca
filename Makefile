# What a newcomer runs first: `make demo`. What must pass before a commit: `make check test`.
# `demo` and `test` share one build.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

CARGO ?= cargo
DEMO_FLAGS ?=

.PHONY: help demo build test lint check bench openapi advisories tools cargo-deny

help: ## Says what each target does.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: build ## Runs an edge, a control plane and origins on this machine until Ctrl-C.
	target/debug/landfall demo $(DEMO_FLAGS)

build: tools ## Builds every binary.
	$(CARGO) build --workspace --bins

test: build ## Runs every test: unit, integration and end to end.
	$(CARGO) test --workspace --no-fail-fast

lint: tools ## Checks format and lints.
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

check: lint cargo-deny ## Checks format, lints, and the licences and sources of dependencies.
	$(CARGO) deny check bans licenses sources

openapi: tools ## Writes docs/openapi.json, the API's document, from the code.
	LANDFALL_WRITE_OPENAPI=1 $(CARGO) test -q -p landfall-control --lib committed_document

bench: tools ## Runs the micro benchmarks.
	$(CARGO) bench -p landfall-benches

advisories: cargo-deny ## Checks dependencies against the RustSec database (fetches it).
	$(CARGO) deny check advisories

# Installs what the build and the tests need and this machine lacks.
tools:
	@.ci/tools

cargo-deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
	  echo 'cargo-deny is missing: installing it with cargo install --locked cargo-deny'; \
	  $(CARGO) install --locked cargo-deny; }
