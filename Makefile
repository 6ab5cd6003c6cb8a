# The verbs of this repository. `make` builds and vets; `make test` tests all but
# the faults, the composed cluster and the limits of scale, which have verbs of
# their own, after it has seen to the foreign clients that the tests speak with.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all

PACKAGES ?= ./...
FLAGS    ?=
T        ?= 10s
LINT      = go tool -modfile=.ci/tools/go.mod golangci-lint

# A process under the race detector sleeps for a second before it ends: so would the
# tests of each package.
export GORACE ?= atexit_sleep_ms=0

# Tests with a summary: $(call tested,FLAGS OF GO TEST). A few tests of these packages,
# which run against the clock, may run a second time by themselves; that is counted.
CLOCKED = /(cluster|gateway|cmd|integration)(/|$$)
tested  = { go test -json $(1) $(FLAGS) $(2) || echo "go test: exit $$?"; } | \
	go run ./.ci/summary -clocked '$(CLOCKED)' go test -json -count=1 -timeout 10m $(FLAGS)

.PHONY: all build vet test race house lint fmt fuzz simulation soak mutants clients integration interop faults \
	histories powerloss reliability compose scale figures profile bench docs update

all: build vet

build:
	go build ./...

vet:
	go vet ./...

# The tests, with a summary that counts what was skipped and why.
# FLAGS are handed to go test, PACKAGES choose what is tested.
test: clients
	$(call tested,-shuffle=on -timeout 11m -skip '$(SLOW)',$(PACKAGES))
	@echo "not part of this: killed, cut off and damaged nodes (make faults), the composed cluster (make compose), limits of scale (make scale)"

# What has a verb of its own.
SLOW = ^(TestFault|TestCompose|TestScale)

race:
	$(MAKE) test FLAGS="-race $(FLAGS)"

# Who may import whom, and the other rules that no linter knows.
house:
	go test -json -count=1 ./internal/house ./.ci/summary ./.ci/figures | go run ./.ci/summary

lint:
	$(LINT) run ./...

fmt:
	$(LINT) fmt ./...

# Every fuzz target there is, T each.
fuzz:
	.ci/fuzz $(T)

# Engines in a simulated cluster: SEEDS seeds. It fails when they are not done WITHIN.
SEEDS  ?= 2000
WITHIN ?= 8m
simulation:
	go test -count=1 -timeout 0 -run '^TestSeeds$$' -v ./routing/sim -args -seeds $(SEEDS) -for $(WITHIN)

# The same for hours, each time with seeds of its own: FOR=4h.
FOR ?= 1h
soak:
	go test -count=1 -timeout 0 -run '^TestSeeds$$' -v ./routing/sim -args -seeds 0 -for $(FOR) -from $$(date +%s)000000

# Faults planted into a copy of the engine, each of which the simulation has to find.
mutants:
	go run ./.ci/mutants

# The foreign clients of the tests: installed where that is possible, else named.
clients:
	@.ci/clients

# Black-box tests: foreign clients, then faults, then the composed cluster.
# The variables that make a short run a full figure stand in integration/README.md.
integration: interop faults compose

interop: clients
	$(call tested,-count=1 -timeout 10m -skip '$(SLOW)',./integration/...)

faults:
	$(call tested,-count=1 -timeout 15m -run '^TestFault',./integration/...)

# Random clients, random faults, and a judgment of what the clients saw. A history
# that fails is kept, its place is printed.
SEED ?= $(shell echo $$RANDOM)
TIME ?= 5m
histories:
	SELVEDGE_SEED=$(SEED) SELVEDGE_TIME=$(TIME) go test -json -count=1 -timeout 24h $(FLAGS) -run '^TestFaultHistories$$' ./integration | go run ./.ci/summary

# The power fails at random points of what a node has done to its disk.
CUTS ?= 100
powerloss:
	SELVEDGE_CUTS=$(CUTS) go test -json -count=1 -timeout 1h $(FLAGS) -run '^TestFaultPowerLoss' ./integration | go run ./.ci/summary

# All faults in their full sizes, and the table of docs/reliability.md: takes the
# machine for itself, for a quarter of an hour.
reliability: clients
	SELVEDGE_FULL=1 SELVEDGE_COMPOSE=1 go test -json -count=1 -timeout 1h $(FLAGS) -run '^(TestFault|TestManyMessages|TestCompose)' ./integration | \
		go run ./.ci/summary -table 'fault | confirmed | lost | doubled, unmarked | again, marked | figure | at most'

compose:
	export SELVEDGE_COMPOSE=1; $(call tested,-count=1 -timeout 15m -run '^TestCompose',./integration/...)

# Many queues, many connections, large backlogs: takes the machine for itself.
scale:
	SELVEDGE_SCALE=1 go test -json -count=1 -timeout 30m $(FLAGS) -run '^TestScale' ./integration | go run ./.ci/summary

# The table of docs/performance.md, measured here, against the limits of speed: each load
# RUNS times for EACH, round by round, some quarter of an hour. A missed limit is an
# error. ONLY=S1 takes the rows that begin so.
RUNS ?= 3
EACH ?= 10s
ONLY ?=
figures:
	go run ./.ci/figures -runs $(RUNS) -duration $(EACH) -only '$(ONLY)'

# Where a node spends its processor time under the first row that begins with ONLY.
PROFILE ?= selvedge.prof
profile:
	go run ./.ci/figures -duration $(EACH) -only '$(or $(ONLY),S1)' -profile $(PROFILE)

bench:
	go test -run '^$$' -bench . -benchmem $(FLAGS) $(PACKAGES)

# The tables of the documentation that are generated from the code.
docs:
	go generate ./...

# Golden files and transcripts, rewritten: read the difference before you commit it.
update:
	.ci/update
