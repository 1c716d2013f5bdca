# What a newcomer runs first: `make demo`. What must pass before a commit: `make check test`.
# `demo` and `test` share one build.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

CARGO ?= cargo
DEMO_FLAGS ?=
BENCH_FLAGS ?=

.PHONY: help demo build test lint check bench bench-micro openapi docs package package-test advisories tools
.PHONY: cargo-deny cargo-deb

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

docs: openapi ## Writes the references in docs/ that are made of the code: the API and the config files.
	LANDFALL_WRITE_DOCS=1 $(CARGO) test -q -p landfall --test it reference_of

bench: tools ## Compares with nginx, HAProxy and Caddy, which it installs: docs/performance.md.
	@benches/load/install
	$(CARGO) build --release -p landfall
	$(CARGO) bench -p landfall-benches --bench load_comparison -- $(BENCH_FLAGS)

bench-micro: tools ## Runs the micro benchmarks.
	$(CARGO) bench -p landfall-benches --bench store --bench cold_start

# Of which version and commit a packaged binary says it is.
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$$/\1/p' Cargo.toml)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

package: tools cargo-deb ## Makes the Debian package of a release build, in target/debian.
	LANDFALL_VERSION='$(VERSION) ($(COMMIT))' $(CARGO) build --release --locked --package landfall --bin landfall
	deploy/debian/build target/release/landfall $(VERSION)-1

package-test: build cargo-deb ## Installs, upgrades and purges a package of the debug build under a systemd of its own (as root).
	deploy/debian/build target/debug/landfall $(VERSION)~test-1
	deploy/test/package target/debian/landfall_$(VERSION)~test-1_*.deb

advisories: cargo-deny ## Checks dependencies against the RustSec database (fetches it).
	$(CARGO) deny check advisories

# Installs what the build and the tests need and this machine lacks.
tools:
	@.ci/tools

cargo-deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
	  echo 'cargo-deny is missing: installing it with cargo install --locked cargo-deny'; \
	  $(CARGO) install --locked cargo-deny; }

cargo-deb:
	@$(CARGO) deb --version >/dev/null 2>&1 || { \
	  echo 'cargo-deb is missing: installing it with cargo install --locked cargo-deb'; \
	  $(CARGO) install --locked cargo-deb; }
