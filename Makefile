# make help lists the targets. `make test` is the one to run before a commit.

GO        ?= go
PKG       ?= ./...
RUN       ?= .
BENCH     ?= .
BENCHTIME ?= 200ms
COUNT     ?= 1
FUZZTIME  ?= 5s
SIM       ?= 1000000
SEED      ?= 1
YARDSTICK ?= -yardstick.rounds=5 -yardstick.out=$(CURDIR)/bench/results/memif.txt
HTTPYARD  ?= -yardstick.rounds=5 -yardstick.out=$(CURDIR)/bench/results/http.txt
TIMEOUT   ?= 10m
TESTFLAGS ?=

# What the packages are built and vetted for, besides the machine we run on.
CROSS = linux/arm64 darwin/arm64 windows/amd64

# The namespace tests run once, in the main run; the other builds leave them
# out with -short, because the kernel on the far side does not see the build.
GOTEST  = $(GO) test -timeout $(TIMEOUT) -run '$(RUN)' $(TESTFLAGS)
SHORT   = FASTSYN_REQUIRE= $(GOTEST) -short
TOOLMOD = .ci/tools/go.mod
LINTER  = bin/golangci-lint
# What cmd/fastsyn spends its time on, for the compiler. Not default.pgo, because
# every build would then compile everything anew.
PROFILE = cmd/fastsyn/fastsyn.pgo
# What only the main build uses is not dead code in another.
ELSEWHERE = --disable unused,unparam

.DEFAULT_GOAL := help
# Two cores, and namespaces of the machine: one thing at a time.
.NOTPARALLEL:
.PHONY: help deps build release pgo test test-all test-unit test-race test-nocgo test-purego test-netns test-dpdk test-nic \
	fuzz sim bench bench-dpdk bench-engine bench-http cover cross vet lint lint-format lint-modules lint-go fmt fix-diff clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  variables: PKG=./cookie RUN=TestCKI BENCH=Mint BENCHTIME=$(BENCHTIME) COUNT=$(COUNT) FUZZTIME=$(FUZZTIME) SIM=$(SIM) SEED=$(SEED) TESTFLAGS=-v"
	@echo "  see docs/testing.md"

deps: ## install (root) or name (user) the programs that tests talk to
	@.ci/deps

build: ## build the fastsyn command into bin/
	CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/fastsyn

release: ## build it for speed, with the profile of make pgo; with DPDK where there is libdpdk (a minute or two)
	@if $(DPDK); then set -x; CGO_ENABLED=1 $(GO) build -tags dpdk -pgo=$(PROFILE) -o bin/ ./cmd/fastsyn; \
	else set -x; CGO_ENABLED=0 $(GO) build -pgo=$(PROFILE) -o bin/ ./cmd/fastsyn; fi

pgo: ## renew the profile for make release; wants what bench-dpdk wants
	CGO_ENABLED=1 $(GO) test -tags dpdk ./bench -run '^$$' -bench MemifYardstick -benchtime 1x -timeout 60m -args -yardstick.rounds=1 -yardstick.pgo=$(CURDIR)/$(PROFILE)

test: deps test-all test-race test-purego test-dpdk test-nic ## everything: all tests, then the race, purego and dpdk builds

test-all: ## the main run: every test, namespaces included, CGO_ENABLED=0
	@echo "== go test: CGO_ENABLED=0, everything"
	CGO_ENABLED=0 $(GOTEST) -count=1 $(PKG)

test-unit: ## quick: default build, without namespaces, results cached
	$(SHORT) $(PKG)

test-race: ## race detector (needs a C compiler), without namespaces
	@echo "== go test: -race"
	@if command -v "$$($(GO) env CC)" >/dev/null; then set -x; CGO_ENABLED=1 $(SHORT) -race $(PKG); \
	elif [ -n "$$CI" ]; then echo "no C compiler: the race detector needs one (apt-get install gcc libc6-dev)" >&2; exit 1; \
	else echo "skipped: the race detector needs a C compiler (apt-get install gcc libc6-dev)"; fi

test-nocgo: ## CGO_ENABLED=0, without namespaces
	@echo "== go test: CGO_ENABLED=0"
	CGO_ENABLED=0 $(SHORT) $(PKG)

test-purego: ## no assembly (-tags purego), without namespaces
	@echo "== go test: -tags purego"
	CGO_ENABLED=0 FASTSYN_REQUIRE_CPU= FASTSYN_REQUIRE_RSS= $(SHORT) -vet=off -tags purego $(PKG)

test-netns: ## only the packages that ask for namespaces, root or programs
	@pkgs=$$(.ci/needy); [ -n "$$pkgs" ] || { echo "no package asks for anything"; exit 0; }; \
	set -x; CGO_ENABLED=0 $(GOTEST) -count=1 $$pkgs

# What needs cgo and DPDK runs in builds of its own.
DPDK   = command -v "$$($(GO) env CC)" >/dev/null && pkg-config --exists libdpdk
NODPDK = if [ -n "$$CI" ]; then echo "no libdpdk or no C compiler (apt-get install libdpdk-dev pkg-config gcc libc6-dev)" >&2; exit 1; \
	else echo "skipped: needs libdpdk and a C compiler (apt-get install libdpdk-dev pkg-config gcc libc6-dev)"; fi
DPDKTEST = CGO_ENABLED=1 $(GO) test -timeout $(TIMEOUT) $(TESTFLAGS) -count=1 -tags dpdk

test-dpdk: deps ## the DPDK driver and the whole engine over DPDK's virtual devices (-tags dpdk)
	@echo "== go test: -tags dpdk"
	@if $(DPDK); then set -ex; \
	$(DPDKTEST) -run '$(RUN)' ./dataplane/dpdk; \
	$(DPDKTEST) -race -short -run '$(RUN)' ./dataplane/dpdk; \
	$(DPDKTEST) -run 'TestDPDK_.*$(RUN)' ./cmd/fastsyn; \
	for d in net_af_packet net_af_xdp; do FASTSYN_INTEROP_DRIVER=$$d $(DPDKTEST) -run 'TestInterop_.*$(RUN)' ./cmd/fastsyn; done; \
	else $(NODPDK); fi

test-nic: deps ## fastsyn on an emulated NIC with several queues and RSS (-tags dpdk, QEMU without KVM)
	@echo "== go test: -tags dpdk, on an emulated NIC"
	@if $(DPDK); then set -x; $(DPDKTEST) -run 'TestNIC_.*$(RUN)' ./cmd/fastsyn; else $(NODPDK); fi

fuzz: ## every fuzz target for FUZZTIME each (go test alone runs the seeds)
	@.ci/fuzz $(FUZZTIME) '$(RUN)'

sim: ## SIM handshakes and SIM/1000 worlds of streams on a faulty wire under a virtual clock, from SEED on
	CGO_ENABLED=0 $(GO) test ./handshake -count=1 -timeout 60m -run '^TestSim$$' -v -args -sim.handshakes=$(SIM) -sim.seed=$(SEED)
	CGO_ENABLED=0 $(GO) test ./dataplane/flow -count=1 -timeout 60m -run '^TestStreamSim$$' -v -args -stream.seeds=$$(( ($(SIM) + 999) / 1000 )) -stream.seed=$(SEED)

bench: ## benchmarks, no tests; COUNT=10 for benchstat
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(COUNT) $(PKG)

bench-dpdk: ## fastsyn against dpdk-testpmd over a memif pair; wants root, huge pages and two idle CPUs
	CGO_ENABLED=1 $(GO) test -tags dpdk ./bench -run '^$$' -bench MemifYardstick -benchtime 1x -timeout 60m -args $(YARDSTICK)

bench-http: ## HTTP transactions and the throughput of a flow, beside net/http and iperf3 on the kernel; wants root, wrk, iperf3 and two idle CPUs
	CGO_ENABLED=0 $(GO) test ./bench -run '^$$' -bench HTTPYardstick -benchtime 1x -timeout 60m -args $(HTTPYARD)

bench-engine: ## one core of the engine, up to 20 million flows (3 GB, minutes), into bin/engine.txt
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) test ./handshake -run '^$$' -bench 'Frames|Lookup|Timers|Expiry' -benchtime 300ms -timeout 30m -args -scale > bin/engine.txt
	CGO_ENABLED=0 $(GO) test ./handshake -run '^$$' -bench Fill -benchtime 1x -timeout 30m -args -scale >> bin/engine.txt
	@cat bin/engine.txt

cover: ## statement coverage over all packages, into bin/cover.out
	@mkdir -p bin
	CGO_ENABLED=0 $(GOTEST) -count=1 -coverpkg=./... -coverprofile=bin/cover.out $(PKG)
	@$(GO) tool cover -func=bin/cover.out | tail -n 1

cross: ## build and vet for arm64, darwin and windows
	@rc=0; export CGO_ENABLED=0; for t in $(CROSS); do echo "== $$t"; export GOOS=$${t%/*} GOARCH=$${t#*/}; \
	$(GO) build -buildvcs=false ./... && $(GO) vet ./... || rc=1; done; exit $$rc

vet: ## go vet of the native builds: default, purego and dpdk
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet -tags purego ./...
	@if $(DPDK); then set -x; CGO_ENABLED=1 $(GO) vet -tags dpdk ./...; else $(NODPDK); fi

lint: vet cross lint-format lint-modules lint-go ## vet, cross, and the three below

lint-format: ## gofmt
	@out=$$(gofmt -s -l .); [ -z "$$out" ] || { echo "not formatted (make fmt):"; echo "$$out"; exit 1; }

lint-modules: ## go.mod and go.sum are tidy
	$(GO) mod tidy -diff

lint-go: $(LINTER) ## golangci-lint, for linux, darwin, purego and dpdk
	@rc=0; export CGO_ENABLED=0; set -x; \
	$(LINTER) run || rc=1; \
	GOOS=darwin GOARCH=arm64 $(LINTER) run $(ELSEWHERE) || rc=1; \
	$(LINTER) run --build-tags purego $(ELSEWHERE) || rc=1; \
	if $(DPDK); then CGO_ENABLED=1 $(LINTER) run --build-tags dpdk $(ELSEWHERE) ./dataplane/dpdk/ ./cmd/fastsyn/ ./bench/ || rc=1; fi; exit $$rc

fmt: $(LINTER) ## gofumpt and goimports, in place
	$(LINTER) fmt

fix-diff: ## what go fix would modernise; no gate
	@$(GO) fix -diff ./... || true

# Compiling the linter takes minutes, so the binary stays in bin/ until the
# version pinned in its own module changes.
$(LINTER): $(TOOLMOD) $(TOOLMOD:.mod=.sum)
	@echo "building golangci-lint, once (about two minutes on two cores)"
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -buildvcs=false -modfile=$(TOOLMOD) -ldflags='-s -w' -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

clean: ## remove bin/
	rm -rf bin
