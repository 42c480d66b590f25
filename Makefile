# The commands of this repository. `make` alone lists them.

STATICCHECK  := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME     ?= 30s

# The race detector needs cgo, and go turns cgo off where there is no C compiler.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# How many packages are tested at a time: most tests that talk to a server also wait, for a lease to run out
# or for a time limit, and leave a core to others.
AT_ONCE := -p=4

# The packages that decide what is right. They share nothing and start nothing: imports_test.go keeps
# sync, time and context out of them, and holds this list. The race detector could find nothing
# there, and their searches and tables take ten times as long under it.
PURE := phase internal/command internal/keyname internal/resp internal/rewrite internal/shape
PURE_PKGS := $(addprefix github.com/classwaves/rekey/,$(PURE))

# Packages whose tests talk to a real server, the others, and those of the reference application
# that have to do with WebSockets. Recursive variables: only the targets that use them ask go list.
SERVER_PKGS = $(shell scripts/packages server)
UNIT_PKGS   = $(shell scripts/packages unit)
WS_PKGS     = $(shell scripts/packages ws)

# $(call run-tests,PACKAGES): the pure ones without the race detector, the others with it. All of them
# run, also where some fail. go vet has its place in lint.
run-tests = @$(call each-kind,$(filter $(PURE_PKGS),$(1)),$(filter-out $(PURE_PKGS),$(1)))
each-kind = status=0; \
	$(if $(1),echo "go test" $(1:github.com/classwaves/rekey/%=./%); go test -vet=off $(AT_ONCE) $(1) || status=1;) \
	$(if $(2),echo "go test $(RACE)" $(2:github.com/classwaves/rekey/%=./%); go test -vet=off $(AT_ONCE) $(RACE) $(2) || status=1;) \
	exit $$status

# Build tags of tests that need more than make test may.
TAGS := postgres,browser,clients

# The packages whose tests are others with them; of internal/cli only some tests are.
TAGGED_PKGS = $(filter-out %/internal/cli,$(shell scripts/packages tagged $(TAGS)))

# What test-servers runs again on each of the other servers, and those servers. The reference
# application stands on the engine and not on a server's peculiarities.
ENGINE_PKGS ?= $(filter-out github.com/classwaves/rekey/classwaves% github.com/classwaves/rekey/cmd/classwaves%,$(SERVER_PKGS))
SERVERS     := .servers/valkey-8/valkey-server .servers/redis-8/redis-server

.DEFAULT_GOAL := help
.PHONY: help build fmt vet lint vuln test test-unit test-integration-cache test-integration-cache-ws \
	test-all test-servers test-tags test-chaos test-deb long bench bench-sweeps bench-proxy fuzz servers redis nutcracker postgres chromium node languages demo clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-28s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## compile everything; programs go to bin/
	go build ./...
	$(if $(wildcard cmd),go build -trimpath -o bin/ ./cmd/...)

fmt: ## format all Go files
	gofmt -l -w .

vet: ## go vet, with and without the tests behind build tags
	go vet ./...
	go vet -tags=$(TAGS) ./...

lint: vet ## gofmt (says which files), go vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	go run $(STATICCHECK) ./...
	go run $(STATICCHECK) -tags=$(TAGS) ./classwaves/... ./cmd/... ./internal/cli

vuln: ## known vulnerabilities of what we link; needs the network
	go run $(GOVULNCHECK) ./...

test: redis ## every test on the installed server, under the race detector where there is a C compiler; 8 minutes on two cores
	$(call run-tests,$(UNIT_PKGS) $(SERVER_PKGS))

test-unit: ## the packages whose tests need no server
	$(call run-tests,$(UNIT_PKGS))

test-integration-cache: redis ## the packages whose tests talk to a real server
	$(call run-tests,$(SERVER_PKGS))

test-integration-cache-ws: redis ## the reference application's tests over WebSockets
	$(call run-tests,$(WS_PKGS))

test-all: test-servers test-tags test-chaos test-deb ## what make test does not: other servers, PostgreSQL, Chromium, clients in other languages, chaos

test-servers: servers ## the engine again, on Valkey 8.0 and Redis 8.0
	@for server in $(SERVERS); do \
		echo "REKEY_TEST_SERVER=$$server go test -count=1" $(ENGINE_PKGS); \
		REKEY_TEST_SERVER=$(CURDIR)/$$server go test -count=1 $(AT_ONCE) $(ENGINE_PKGS) || exit 1; \
	done

test-tags: redis postgres chromium node languages ## the reference application on PostgreSQL, in Chromium, beside Node; clients of five languages through the proxy
	go test -count=1 -timeout=15m -tags=$(TAGS) $(TAGGED_PKGS)
	go test -count=1 -timeout=10m -tags=$(TAGS) -run='Foreign|RedisTools' ./internal/cli

test-deb: ## build the package for Debian, install it, try it and remove it; root or sudo
	scripts/test-deb

test-chaos: redis ## a fleet of processes under kill -9 for 30 seconds, and a failover behind every gate
	REKEY_CHAOS_SECONDS=30 go test -count=1 -timeout=10m ./internal/chaostest

long: redis ## by hand, hours: tests again and again, those with the tag long, long random ones, fuzzers for ten minutes each
	go test $(RACE) -tags=long -count=10 -timeout=60m $(SERVER_PKGS)
	REKEY_WALK_SECONDS=120 REKEY_DIFF_SECONDS=600 go test $(RACE) -tags=long -count=1 -timeout=60m ./internal/walktest ./internal/difftest ./classwaves/fleettest
	REKEY_SWEEP_KILLS=50 REKEY_SWEEP_KEYS=1000000 go test $(RACE) -count=1 -v -timeout=60m -run='Killed|LittleMemory' ./internal/sweep
	REKEY_CHAOS_SECONDS=300 go test $(RACE) -count=1 -v -timeout=60m ./internal/chaostest
	scripts/fuzz 10m

bench: redis nutcracker ## all benchmarks
	go test -run='^$$' -bench=. -benchmem ./...

# How many keys the sweeps are measured on. `make bench` takes fewer, to be done in minutes.
SWEEP_KEYS ?= 1000000

bench-sweeps: redis ## every sweep on SWEEP_KEYS (1,000,000) keys, strings and a mix of types, beside the bare limit; a quarter of an hour
	REKEY_BENCH_KEYS=$(SWEEP_KEYS) go test -count=1 -timeout=60m -run='^$$' -bench='^Benchmark(Sweeps|Pages)$$' -benchtime=1x ./internal/sweep

bench-proxy: redis nutcracker ## redis-benchmark through the proxy, beside the server and nutcracker, as one table
	go test -count=1 -run='^$$' -bench='^BenchmarkProxy$$' ./internal/bench

fuzz: ## every fuzzer for FUZZTIME (30s)
	scripts/fuzz $(FUZZTIME)

servers: ## fetch Valkey 8.0 and Redis 8.0 to .servers/, without installing them
	@scripts/get-servers .servers >/dev/null

redis: ## install redis-server if there is no server yet
	@scripts/install-redis

nutcracker: ## install nutcracker for the benchmarks if it is missing
	@scripts/install-nutcracker

postgres: ## install PostgreSQL if there is none yet
	@scripts/install-postgres

chromium: ## install Chromium if there is none yet
	@scripts/install-chromium

node: ## install Node if there is none yet, and fetch the npm packages that tests run, to .clients/
	@scripts/install-node
	@scripts/get-node-clients .clients >/dev/null

languages: ## install the Redis clients of Python, Ruby, PHP and Perl if they are missing
	@scripts/install-languages

demo: ## a live migration in this terminal
	go run ./cmd/rekey demo

clean: ## remove what the commands above made; .servers/ and .clients/ stay
	rm -rf bin coverage.txt *.test *.out *.prof
