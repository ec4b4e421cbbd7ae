# make demo, make test: the two commands of the README. `make help` lists the rest.
SHELL := /bin/bash
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FLOOR := build/floor
# What make install copies packages from: the development environment, or one with just those.
PROGRAM := $(if $(wildcard $(READY)),$(VENV),build/program)
PREFIX ?= /usr/local
DESTDIR ?=
OBJECT := src/clusterip/adapters/clusterip.bpf.o
BENCH_OBJECTS := build/packets.bpf.o build/smallest.bpf.o
PYTEST_ARGS ?=
# What calls a dependency: at the edges, and where it reads what others wrote.
FLOOR_TESTS ?= $(addprefix tests/,test_floor.py test_wheel.py adapters/test_links.py \
	adapters/test_links_answers.py adapters/test_links_sources.py adapters/test_linkwatch.py \
	adapters/test_hooks.py adapters/test_netlink.py adapters/test_diag.py adapters/test_sources.py \
	adapters/test_statefs.py core/packets/test_state.py core/test_health.py core/messages/test_request.py \
	core/config runtime/test_rule_table.py runtime/test_rule_table_kernel.py runtime/test_served_interface.py \
	core/packets/test_hashing.py cli/test_output.py cli/test_show.py cli/test_show_cluster.py \
	cli/check cli/test_steer.py bpf/test_abi.py bpf/test_object.py bpf/test_arp.py)
SEEDS ?= 2000
SEED ?=
RUNS ?= 20
BENCH ?=
HOSTS ?=
ASK ?=
DEMO ?=

# One object for every kernel and every folder: no host headers beyond UAPI, no paths inside.
CLANG ?= clang
MULTIARCH = $(shell python3 -c 'import sysconfig; print(sysconfig.get_config_var("MULTIARCH") or "")')
BPF_CFLAGS := -O2 -g -target bpfel -mcpu=v3 -Wall -Wextra -Werror \
	"-ffile-prefix-map=$(CURDIR)=." -idirafter /usr/include/$(MULTIARCH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: $(READY) $(OBJECT) ## show the main job on three hosts and a client, in namespaces; DEMO=--slow for a slow machine
	@$(BIN)/python -m lab.demo $(DEMO)

.PHONY: test
test: $(READY) $(OBJECT) $(BENCH_OBJECTS) check ## run all tests; PYTEST_ARGS="tests/core -k hash" for some
	$(BIN)/python -m pytest --numprocesses auto $(PYTEST_ARGS)

.PHONY: test-floor
test-floor: $(FLOOR)/.ready $(OBJECT) ## test with every dependency at its lower bound; FLOOR_TESTS=tests/core for some
	$(FLOOR)/bin/python -m pytest --numprocesses auto $(FLOOR_TESTS)

.PHONY: test-fast
test-fast: $(READY) $(OBJECT) $(BENCH_OBJECTS) ## run the tests that need neither root nor a network nor long
	$(BIN)/python -m pytest --numprocesses $$(nproc) -m "not root and not long" \
		--hypothesis-profile=fast $(PYTEST_ARGS)

.PHONY: test-fresh
test-fresh: $(READY) ## run make demo and make test in empty systems of Debian 12 and 13: an hour
	$(BIN)/python -m lab.fresh

.PHONY: test-hosts
test-hosts: $(READY) $(OBJECT) ## do what a site does on Debian's own kernels, in qemu; HOSTS=6.1 ASK="drain pause" for some
	@scripts/install guests
	@$(BIN)/python -m lab.hosts --hosts $(HOSTS) --ask $(ASK)

.PHONY: sim
sim: $(READY) ## simulate clusters of peers; SEEDS=100000 for many, SEED=7 replays one
	$(BIN)/python -m tests.sim --seeds $(SEEDS) $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: $(READY) ## put small faults into the packet path, one by one: do the tests notice? WORDS=fragment for some
	$(BIN)/python -m tests.bpf.mutants $(WORDS)

.PHONY: bench
bench: $(READY) $(OBJECT) $(BENCH_OBJECTS) ## measure beside others; RUNS=5 for fewer, BENCH=discard for one
	$(BIN)/python -m bench --runs $(RUNS) $(BENCH)

.PHONY: check
check: $(READY) $(OBJECT) ## format, lint, types: changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: format
format: $(READY) ## format the sources, mend what the linter can, write the tables of keys into the docs
	$(BIN)/python -m tests.core.config.page
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: object
object: $(OBJECT) ## compile the BPF object

.PHONY: modules
modules: ## write docs/modules.md anew, after a module came, went or says something else of itself
	scripts/modules >build/modules.md
	mv build/modules.md docs/modules.md

.PHONY: wheel
wheel: $(PROGRAM)/.ready $(OBJECT) ## make the wheel, which needs no compiler where it is installed
	$(PROGRAM)/bin/python -m build --wheel --no-isolation --outdir dist

.PHONY: dev
dev: $(READY) $(OBJECT) ## make the development environment, with the command as .venv/bin/clusterip

.PHONY: install
install: $(PROGRAM)/.ready $(OBJECT) ## install the program below PREFIX (/usr/local), in DESTDIR if given
	@made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && export PYTHONDONTWRITEBYTECODE=1 && \
	$(PROGRAM)/bin/python -m build --wheel --no-isolation --outdir "$$made" >"$$made/log" 2>&1 || \
	{ cat "$$made/log" >&2; exit 1; } && \
	$(PROGRAM)/bin/python scripts/program install "$$made"/*.whl "$(PREFIX)" "$(DESTDIR)"

.PHONY: uninstall
uninstall: ## take away what make install brought; files in /etc stay
	python3 scripts/program uninstall "$(PREFIX)" "$(DESTDIR)"

.PHONY: clean
clean: ## remove all that make made
	rm -rf $(VENV) build dist $(OBJECT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Without clang this is where a fresh machine gets it, so the packages come first.
$(OBJECT): bpf/clusterip.bpf.c $(wildcard bpf/*.h) Makefile | packages
	$(CLANG) $(BPF_CFLAGS) -c bpf/clusterip.bpf.c -o $@

$(BENCH_OBJECTS): build/%.bpf.o: bench/%.bpf.c $(wildcard bpf/*.h) Makefile | packages
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -Wno-unused-parameter -c $< -o $@

.PHONY: packages
packages:
	@command -v $(CLANG) >/dev/null && python3 -c 'import ensurepip' 2>/dev/null || scripts/install build

build/program/.ready: pyproject.toml hatch_build.py | packages
	python3 -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet build 'hatchling>=1.27,<2' . || { echo "make install: the packages that \
	pyproject.toml names are needed: from a package index, or from a folder with their wheels: \
	PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER make install" >&2; exit 1; }
	touch $@

$(FLOOR)/.ready: pyproject.toml hatch_build.py scripts/install scripts/floor
	scripts/install
	python3 -m venv --clear $(FLOOR)
	scripts/floor >$(FLOOR)/constraints
	$(FLOOR)/bin/pip install --quiet --constraint $(FLOOR)/constraints --editable '.[dev,numpy]'
	touch $@

$(READY): pyproject.toml hatch_build.py scripts/install
	scripts/install
	python3 -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev,numpy]'
	touch $@
