# The commands of this repository. `make` alone lists them.

STATICCHECK  := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME     ?= 30s

# The race detector needs cgo, and go turns cgo off where there is no C compiler.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# Packages whose tests talk to a real server, and the others. Recursive variables: only the
# targets that use them ask go list.
SERVER_PKGS = $(shell scripts/packages server)
UNIT_PKGS   = $(shell scripts/packages unit)

# What test-all runs again on each of the other servers, and those servers.
ENGINE_PKGS ?= $(SERVER_PKGS)
SERVERS     := .servers/valkey-8/valkey-server .servers/redis-8/redis-server

.DEFAULT_GOAL := help
.PHONY: help build fmt vet lint vuln test test-unit test-integration-cache test-integration-cache-ws \
	test-all long bench fuzz servers redis demo clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-28s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## compile everything; programs go to bin/
	go build ./...
	$(if $(wildcard cmd),go build -trimpath -o bin/ ./cmd/...)

fmt: ## format all Go files
	gofmt -l -w .

vet: ## go vet
	go vet ./...

lint: vet ## gofmt (says which files), go vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	go run $(STATICCHECK) ./...

vuln: ## known vulnerabilities of what we link; needs the network
	go run $(GOVULNCHECK) ./...

test: redis ## every test on the installed server, under 5 minutes
	go test $(RACE) ./...

test-unit: ## the packages whose tests need no server
	go test $(RACE) $(UNIT_PKGS)

test-integration-cache: redis ## the packages whose tests talk to a real server
	go test $(RACE) $(SERVER_PKGS)

test-integration-cache-ws: redis ## the reference application's tests over WebSockets (from the first day that it has any)
	@if [ ! -d classwaves ]; then echo "there is no classwaves yet, so nothing of it can be tested" >&2; exit 1; fi
	go test $(RACE) ./classwaves/...

test-all: servers ## what make test does not: the engine again on Valkey 8.0 and Redis 8.0
	@for server in $(SERVERS); do \
		echo "REKEY_TEST_SERVER=$$server go test -count=1" $(ENGINE_PKGS); \
		REKEY_TEST_SERVER=$(CURDIR)/$$server go test -count=1 $(ENGINE_PKGS) || exit 1; \
	done

long: redis ## by hand, most of an hour: tests again and again, those with the tag long, fuzzers for ten minutes each
	go test $(RACE) -tags=long -count=10 -timeout=60m $(SERVER_PKGS)
	scripts/fuzz 10m

bench: redis ## all benchmarks
	go test -run='^$$' -bench=. -benchmem ./...

fuzz: ## every fuzzer for FUZZTIME (30s)
	scripts/fuzz $(FUZZTIME)

servers: ## fetch Valkey 8.0 and Redis 8.0 to .servers/, without installing them
	@scripts/get-servers .servers >/dev/null

redis: ## install redis-server if there is no server yet
	@scripts/install-redis

demo: ## a live migration in this terminal
	go run ./cmd/rekey demo

clean: ## remove what the commands above made; .servers/ stays
	rm -rf bin coverage.txt *.test *.out *.prof
