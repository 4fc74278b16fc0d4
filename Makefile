# The one list of verbs. `make lab` and `make test` work as the first command on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := bgpctl tests bench docs/conf.py tools/deb.py tools/engine.py tools/man.py tools/reference.py tools/release.py tools/schema.py tools/install \
	tools/nightly.py tools/sbom.py tools/wings.py

help:                           ## the verbs of this file
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: always help setup lock lab lint check test test-labs test-others test-pages test-invariants test-newest nightly sbom release bare interop vm docs pictures reference \
	schema bench bench-pages bench-switch format clean

setup: $(VENV)/ready            ## .venv with exactly what locks/all.txt names; byte code, as an installation has it
	@$(BIN)/python -m compileall -q bgpctl

.venv/ready: locks/all.txt setup.cfg pyproject.toml tools/install tools/system-packages
	@tools/system-packages
	@$(PYTHON) tools/install .venv locks/all.txt
	@touch $@

UV := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'

UPGRADE := --upgrade
lock:                           ## locks/ with the newest versions in setup.cfg's ranges, and .venv with them; UPGRADE= keeps those that fit
	@tools/system-packages
	@$(PYTHON) tools/install --bare .venv-lock locks/uv.txt
	@echo 'uv >=0.13,<0.14' | $(UV) $(UPGRADE) - --output-file locks/uv.txt >/dev/null
	@$(UV) $(UPGRADE) --all-extras setup.cfg --output-file locks/all.txt >/dev/null
	@printf 'pip\nsetuptools\nsetuptools-scm\n' | $(UV) --constraints locks/all.txt setup.cfg - --output-file locks/image.txt >/dev/null
	@printf 'hypothesis\npytest\npytest-xdist\n' | \
		$(UV) --constraints locks/all.txt setup.cfg - --output-file locks/guest.txt >/dev/null
	@$(MAKE) --no-print-directory setup

lab: setup                      ## the main job: IPIP over BGP, then VXLAN without BGP, from a file and from etcd, real packets
	@$(BIN)/bgpctl lab run topologies/cross-subnet.yaml
	@$(BIN)/bgpctl lab run topologies/vxlan.yaml
	@tools/system-packages etcd
	@$(BIN)/bgpctl lab run topologies/vxlan-etcd.yaml

lint: setup                     ## style, types, spelling, and the direction of imports, which it prints
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo
	@$(BIN)/codespell bgpctl tests docs topologies *.md
	@$(BIN)/python tools/wings.py

check: lint                     ## the fast loop: style, types, layers, unit tests, invariants
	@$(BIN)/pytest --quiet -n 2 --dist worksteal tests/unit tests/laws tests/stories

test test-invariants: export HYPOTHESIS_PROFILE = ci
test: lint                      ## everything: contracts on fakes and the real kernel, labs, other BGP daemons, a stock kernel; about forty minutes on two cores
	@$(BIN)/pytest --quiet -n 2 --dist worksteal tests/unit tests/stories
	@tools/system-packages test || true
	@tools/system-packages docker || true
	@tools/system-packages bare || true
	@$(BIN)/python -m compileall -q bgpctl  # labs start hundreds of processes
	@$(BIN)/pytest --quiet -n 3 --dist worksteal tests/contract tests/attack  # more than cores: they wait for ExaBGP most of the time
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-labs test-others test-pages
	@$(BIN)/pytest --quiet tests/bare
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target vm test-invariants

test-newest:                    ## `make check` with the newest versions in range instead of the locked ones
	@$(MAKE) --no-print-directory VENV=.venv-newest check

.venv-newest/ready: always
	@tools/system-packages
	@$(PYTHON) tools/install --newest .venv-newest
	@touch $@
always:

# Three parts that take about as long, side by side, because all wait most of the time.
OTHER_LABS := $(patsubst %,tests/lab/test_%.py,apply asked other_switches packet_cases service)
STORE_LABS := $(patsubst %,tests/lab/test_%.py,claimed_blocks etcd join map services)
test-labs test-others test-pages: setup
test-labs:
	@$(BIN)/pytest --quiet --durations=5 tests/lab $(addprefix --ignore=,$(OTHER_LABS) $(STORE_LABS))
test-others:
	@$(BIN)/pytest --quiet --durations=5 tests/interop tests/ui $(OTHER_LABS)
test-pages:
	@$(BIN)/pytest --quiet --durations=5 tests/docs tests/docker $(STORE_LABS)

# An emulated node that has to wait for its processor proves no tunnel in time, so the invariants take only what it leaves.
test-invariants: setup
	@chrt --idle 0 $(BIN)/pytest --quiet -n 2 --dist worksteal tests/laws

nightly: setup                  ## the tests that take longer, up to six hours; build/nightly.md has the results
	@$(BIN)/python tools/nightly.py

bare: setup                     ## make lab and make check on a bare Debian, where packages are missing
	@$(BIN)/pytest --quiet tests/bare

sbom: setup                     ## build/bgpctl.cdx.json: the packages beside the wheel, with their hashes (CycloneDX)
	@mkdir -p build
	@$(BIN)/python tools/sbom.py "$$($(BIN)/python -m setuptools_scm)" locks/image.txt >build/bgpctl.cdx.json
	@echo build/bgpctl.cdx.json

release: setup                  ## dist/: sdist, wheel, Debian package, image, role for Ansible, SHA256SUMS; made and checked
	@$(BIN)/python -m tools.release

docs: setup                     ## the pages of docs/, in build/docs; broken links and references are errors
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

pictures: setup                 ## the pictures of the map in docs, made anew from the page
	@tools/system-packages test
	@BGPCTL_PICTURES=docs $(BIN)/pytest --quiet tests/ui/test_map_pictures.py

reference: setup                ## docs/reference and packaging/man, made anew from the program
	@$(BIN)/python tools/reference.py docs/reference
	@$(BIN)/python tools/man.py packaging/man

schema: setup                   ## bgpctl/schema for editors, made anew from the tables of keys
	@$(BIN)/python tools/schema.py bgpctl/schema

interop: setup                  ## BGP with BIRD, FRR and GoBGP, alone: a table of scenarios
	@tools/system-packages test
	@$(BIN)/pytest --quiet tests/interop

vm: setup                       ## IP in IP with the real ipip module, on a stock Debian kernel in an emulator
	@$(BIN)/pytest --quiet tests/vm

bench: setup                    ## every measurement beside BIRD, FRR, GoBGP and ip -batch, in 40 minutes, with Debian's Python; QUICK=1 in five; PARTS=, FORCE=1
	@tools/system-packages test
	@tools/bench-python -m bench.run

# One measurement alone; each is described at the beginning of its module, with the variables that change it.
ALONE := bench-live bench-reflector bench-node bench-usable bench-fifty bench-forwarding bench-filters bench-change bench-edit bench-simulate bench-fib bench-bgp bench-bgp-idle bench-repair bench-mirror bench-asked bench-encapsulation bench-proof
.PHONY: $(ALONE)
$(ALONE): bench-%: setup
	@tools/system-packages test
	@tools/bench-python -m bench.run $*

bench-pages: setup              ## docs/benchmarks.md and its pictures anew from bench/results
	@$(BIN)/python -m bench.pages

bench-switch: setup             ## packets lost by changes of the encapsulation, and by naive ones; PPS= changes the load
	@tools/bench-python -m bench.switch bench/results/switch.json
	@tools/vm --timeout 3000 --out bench/results env PPS=20 SLOWNESS=5 \
		sh -c 'modprobe ipip && python3 -m bench.switch --ours /out/switch-module.json'

format: setup
	@$(BIN)/ruff format --quiet $(CODE)
	@$(BIN)/ruff check --fix --quiet $(CODE)

clean:
	@rm -rf .venv .venv-bench .venv-lock .venv-newest build .vm dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
