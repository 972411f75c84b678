# One line of help for each target that people call: make help.

GO         ?= go
TOOLS      := $(CURDIR)/.tools
GOLANGCI   := $(TOOLS)/golangci-lint-2.15.0
ACT        := $(TOOLS)/act-0.2.89
ACTIONLINT := $(TOOLS)/actionlint-1.7.12
TOXIPROXY  := $(TOOLS)/toxiproxy-2.5.0

.DEFAULT_GOAL := help
.PHONY: help demo build test check ci lint vet race postgres toolkit openapi openapi-check contract fuzz bench tools clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: ## Run the main job, live
	$(GO) run ./cmd/agentidp demo

build: ## Build one static binary: bin/agentidp
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/agentidp ./cmd/agentidp

test: ## Run the tests that need Go alone
	$(GO) test ./...

check: vet lint test openapi-check ## Run what a change should pass before it is shown

ci: tools vet lint openapi-check actions-check actions-test race postgres-pooled postgres-serializable faults-short soak-short contract wycheproof thirdparty verify-tokens deploy-check fuzz bench-smoke build-size ## Run everything; installs what it needs; skips nothing

vet:
	$(GO) vet ./...
	$(GO) mod tidy -diff
	cd test/compose && $(GO) mod tidy -diff
	cd test/openapi && $(GO) mod tidy -diff
	cd test/thirdparty/golang && $(GO) mod tidy -diff
	cd test/verifytokens && $(GO) mod tidy -diff
	cd test/wycheproof && $(GO) mod tidy -diff

lint: $(GOLANGCI) ## Run the linters at their pinned version
	$(GOLANGCI) run ./...
	cd test/compose && $(GOLANGCI) run ./...
	cd test/openapi && $(GOLANGCI) run ./...
	cd test/thirdparty/golang && $(GOLANGCI) run ./...
	cd test/verifytokens && $(GOLANGCI) run ./...
	cd test/wycheproof && $(GOLANGCI) run ./...

# The race detector needs cgo. PostgreSQL is required here: the store suite and
# the race tests of the server run on it too, and fail where it is missing. All that
# tests and their servers print is searched for secrets; there must be a hundred logs
# of servers, or it is not all. And each attack of docs/security-cases.md must have been
# made, in a test that has its id in its name and passed.
race: test/actionscore/node_modules ## Run all tests with the race detector, on SQLite and PostgreSQL; find no secret in what they print
	AGENTIDP_REQUIRE_POSTGRES=1 AGENTIDP_REQUIRE_NODE=1 CGO_ENABLED=1 $(GO) run ./test/secretscan -logs 100 \
		$(GO) run ./test/corpus -page docs/security-cases.md $(GO) test -race -json -timeout 40m ./...

postgres: ## Run the store suite on a throw-away PostgreSQL
	AGENTIDP_REQUIRE_POSTGRES=1 $(GO) test ./internal/store/...

.PHONY: postgres-pooled postgres-serializable
postgres-pooled: ## Run the store suite, and several servers, through a transaction pooler
	AGENTIDP_POSTGRES=pooled AGENTIDP_REQUIRE_POSTGRES=1 $(GO) test -count=1 ./internal/store -run '/PostgreSQL'
	AGENTIDP_POSTGRES=pooled AGENTIDP_REQUIRE_POSTGRES=1 $(GO) test -count=1 -tags failpoints ./internal/cli -run '^TestServersOver|^TestR13'

# A transaction of one test makes those of all others conflict, so that there is one at a time.
postgres-serializable: ## The same with every transaction SERIALIZABLE
	AGENTIDP_POSTGRES=serializable AGENTIDP_REQUIRE_POSTGRES=1 $(GO) test -count=1 ./internal/store -run '/PostgreSQL'
	AGENTIDP_POSTGRES=serializable AGENTIDP_REQUIRE_POSTGRES=1 $(GO) test -count=1 -parallel 1 -tags failpoints ./internal/cli -run '^TestServersOver|^TestR13'

# race runs it again with everything else; this is for those who work on it.
toolkit: test/actionscore/node_modules ## Let the real Actions toolkit talk to the emulator
	AGENTIDP_REQUIRE_NODE=1 $(GO) test -count=1 ./test/actionscore

test/actionscore/node_modules: test/actionscore/package-lock.json
	cd test/actionscore && npm ci --no-audit --no-fund
	touch $@

actions: actions/node_modules ## Build the bundles of the GitHub Actions
	cd actions && npm run --silent build

.PHONY: actions actions-check actions-test actions-update
actions-check: actions/node_modules
	cd actions && npm run --silent check

actions-test: build actions actions/engines/node_modules $(ACT) $(ACTIONLINT) ## Run the actions on Node 20 and 24, against the real server
	AGENTIDP_REQUIRE_NODE=1 $(GO) run ./test/secretscan -logs 20 ./scripts/actions-test.sh

actions-update: build actions $(ACT) $(ACTIONLINT) ## Write what the actions print and send into actions/test/snapshots
	UPDATE=1 ./scripts/actions-test.sh

actions/node_modules: actions/package-lock.json
	cd actions && npm ci --no-audit --no-fund
	touch $@

actions/engines/node_modules: actions/engines/package-lock.json
	cd actions/engines && npm ci --no-audit --no-fund
	touch $@

openapi: ## Write api/openapi.json and docs/trust-policies.schema.json from the code
	$(GO) test ./internal/api -run TestTheCommitted -update

openapi-check:
	$(GO) test ./internal/api -run TestTheCommitted -count=1

# Modules of their own, because they need more than the product does.
contract: ## Hold api/openapi.json against the running server, with 3,000 generated requests
	cd test/openapi && $(GO) vet ./... && $(GO) test -count=1 ./...

.PHONY: wycheproof
wycheproof: ## Hold the verifier of signatures against the vectors of Wycheproof
	cd test/wycheproof && $(GO) vet ./... && $(GO) test -count=1 ./...

.PHONY: thirdparty soak soak-short
thirdparty: build test/thirdparty/node/node_modules ## Let OAuth clients and verifiers of others talk to the server
	cd test/thirdparty/golang && $(GO) vet ./...
	$(GO) run ./test/secretscan -logs 8 $(GO) -C test/thirdparty/golang test -json -count=1 ./...
	$(GO) run ./test/secretscan -logs 10 npm --prefix test/thirdparty/node test

test/thirdparty/node/node_modules: test/thirdparty/node/package-lock.json
	cd test/thirdparty/node && npm ci --no-audit --no-fund
	touch $@

# The page is outside of the module, so that go test does not see when it changes: -count=1.
.PHONY: verify-tokens
verify-tokens: test/verifytokens/node_modules ## Run the code of docs/verify-tokens.md, in Go, Node and Python, against the real server
	cd test/verifytokens && $(GO) vet ./...
	$(GO) run ./test/secretscan -logs 6 $(GO) -C test/verifytokens test -json -count=1 ./...

test/verifytokens/node_modules: test/verifytokens/package-lock.json
	cd test/verifytokens && npm ci --no-audit --no-fund
	touch $@

# The image is built without a daemon, the unit is judged by systemd, the compose file is
# read by Compose's own loader, and what the Caddyfile says is done by Caddy.
.PHONY: deploy-check
deploy-check: ## Hold what is in deploy/ against the program
	cd test/compose && $(GO) vet ./... && $(GO) test -count=1 ./...
	AGENTIDP_REQUIRE_DEPLOY=1 AGENTIDP_REQUIRE_POSTGRES=1 $(GO) run ./test/secretscan -logs 4 $(GO) test -json -count=1 ./deploy

# At least three days of the server's clock, with rotation, retention and policies that
# come and go; CI runs it for a minute.
SOAK = $(GO) test ./internal/app -run '^TestR24Soak$$' -count=1 -timeout 30m -v -soak
soak: ## Let a server work for ten minutes, and look what it holds then
	$(SOAK) 10m

soak-short:
	$(SOAK) 1m

# What breaks in a test build, and to the real program (docs/reliability.md).
FAULTS = AGENTIDP_REQUIRE_POSTGRES=1 AGENTIDP_TOXIPROXY=$(TOXIPROXY) $(GO) run ./test/secretscan -logs 10 \
	$(GO) run ./test/corpus -page docs/reliability.md $(GO) test -tags failpoints -json -count=1 -timeout 30m ./internal/... -run '^TestR[0-9]'
.PHONY: faults faults-short
faults: $(TOXIPROXY) ## Break what can break, for some minutes, and look what the server does
	AGENTIDP_FAULTS=long $(FAULTS)
faults-short: $(TOXIPROXY)
	$(FAULTS)

.PHONY: config-docs
config-docs: ## Write docs/configuration.md and the example file from the Config struct
	$(GO) test ./internal/config -run TestTheCommittedManualIsTheConfigStruct -update

fuzz: ## Fuzz each target for ten seconds, those that decide about tokens for twenty
	./scripts/fuzz.sh 20s 10s

# What is compared with the goals: all of it on both engines, with three nodes, and with a
# million agents (2 GB of disk while it lasts).
bench: build ## Measure what everything costs beside its floor F, on both engines; hold it against the goals
	$(GO) run ./bench -binary bin/agentidp -on sqlite,postgres -nodes 3 -agents 1000000

.PHONY: bench-smoke build-size
bench-smoke: build
	$(GO) run ./bench -requests 300 -clients 8 -agents 1000 -binary bin/agentidp
	$(GO) run ./bench -requests 300 -clients 8 -on postgres -nodes 2 -only exchange

# The goal is 35 MB.
build-size: build
	@size=$$(wc -c < bin/agentidp); echo "bin/agentidp: $$size bytes"; test $$size -le 35000000

tools: $(GOLANGCI) ## Install what CI needs: PostgreSQL, a C compiler, Node, Python with PyJWT, the linters
	./scripts/install.sh

$(GOLANGCI):
	mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(TOOLS)/golangci-lint $@

# act runs workflows without GitHub.
$(ACT):
	mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/nektos/act@v0.2.89
	mv $(TOOLS)/act $@

$(ACTIONLINT):
	mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
	mv $(TOOLS)/actionlint $@

# toxiproxy stands between a server and PostgreSQL, and breaks the network.
$(TOXIPROXY):
	mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0
	mv $(TOOLS)/server $@

clean: ## Remove what was built
	rm -rf bin .tools actions/*/dist actions/.build
