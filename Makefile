# The one list of verbs. `make lab` and `make test` work as the first command on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup lab test interop vm check bench-fib bench-repair bench-bgp bench-bgp-idle format clean

setup: .venv/ready

.venv/ready: setup.cfg pyproject.toml tools/system-packages
	@tools/system-packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bgpctl needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@

lab: setup                      ## the main job: IPIP over BGP, then VXLAN without BGP, real packets
	@$(BIN)/bgpctl lab run topologies/cross-subnet.yaml
	@$(BIN)/bgpctl lab run topologies/vxlan.yaml

check: setup                    ## the fast loop: style, types, layers, unit tests, laws
	@$(BIN)/ruff format --check --quiet bgpctl tests bench
	@$(BIN)/ruff check --quiet bgpctl tests bench
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo
	@$(BIN)/codespell bgpctl tests docs topologies *.md
	@$(BIN)/pytest --quiet tests/unit tests/laws tests/stories

test: check                     ## everything: contracts on fakes and the real kernel, the labs, BGP with other daemons
	@tools/system-packages test || true
	@HYPOTHESIS_PROFILE=ci $(BIN)/pytest --quiet --durations=10 -m "not vm" tests/laws tests/contract tests/lab tests/interop

interop: setup                  ## BGP with BIRD, FRR and GoBGP, alone: a table of scenarios
	@tools/system-packages test
	@$(BIN)/pytest --quiet tests/interop

vm: setup                       ## IP in IP with the real ipip module, on a stock Debian kernel in an emulator
	@$(BIN)/pytest --quiet tests/vm

bench-fib: setup                ## routing table costs beside BIRD and ip -batch; ROUTES= and GATEWAYS= narrow it
	@tools/system-packages test
	@$(BIN)/pip install -qq --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python bench/fib.py bench/results/fib.json
	@$(BIN)/python bench/picture.py bench/results/fib.json bench/results/fib.svg

bench-repair: setup             ## how soon a deleted route is back; ROUTES= and TRIES= change how many
	@$(BIN)/python bench/repair.py bench/results/repair.json

bench-bgp: setup                ## how soon the routes of one BIRD are in the kernel, beside BIRD and FRR; ROUTES= and ROUNDS=
	@tools/system-packages test
	@$(BIN)/python -m bench.bgp bench/results/bgp.json

bench-bgp-idle: setup           ## what a hundred quiet BGP peers cost, beside stock ExaBGP; PEERS=, ROUNDS= and SECONDS= change it
	@$(BIN)/python bench/bgp_idle.py

format: setup
	@$(BIN)/ruff format --quiet bgpctl tests bench
	@$(BIN)/ruff check --fix --quiet bgpctl tests bench

clean:
	@rm -rf .venv build .vm dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
