# tenloom needs Go and nothing else to build and run. Tests need more; `make test` installs what is missing where it can.

GO ?= go
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
BIN = bin/tenloom

.PHONY: build test conformance soak check bench guests deps wast fuzz clean components

build: ## bin/tenloom
	$(GO) build -trimpath -o $(BIN) ./cmd/tenloom

test: deps ## everything, with the race detector
	cd sdk && $(GO) test -race ./...
	cd examples/go-counter && $(GO) test ./...
	vault=$$(.ci/vault); TENLOOM_TEST_VAULT="$$vault" $(GO) test -race -timeout 20m ./... && case "$$vault" in "left out"*) echo "$$vault" ;; esac
	TENLOOM_TEST_COMPONENTS="$$(.ci/components)" $(GO) test -run '^TestLargeComponents$$' ./sandbox
	cd conformance && $(GO) test -race -tags s3 ./...
	cd conformance/dapr && $(GO) test ./...
	$(GO) test -tags portable ./sandbox

conformance: ## the suites of others: real etcd and S3, and Dapr's own for bindings
	cd conformance && $(GO) test -tags s3 ./...
	cd conformance/dapr && $(GO) test -count=1 ./...

soak: ## a million invocations, after which memory, mappings, descriptors and goroutines are where they were
	$(GO) test -count=1 -run '^TestSoak$$' -v -timeout 60m ./sandbox -soak 1000000

check: ## what every commit passes: no large files, gofmt, go vet, staticcheck, the imports test
	@big=$$(git ls-files | xargs -I{} find {} -maxdepth 0 -size +1024k); if [ -n "$$big" ]; then echo "too large for the repository, more than 1 MiB:"; echo "$$big"; exit 1; fi
	@bad=$$(git ls-files '*.go' | xargs gofmt -l); if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	cd conformance && $(GO) vet -tags s3 ./...
	cd sdk && $(GO) vet ./... && GOOS=wasip1 GOARCH=wasm $(GO) build ./...
	$(STATICCHECK) ./...
	$(GO) test -count=1 -run '^TestArrows$$' ./cmd/tenloom

ONLY ?= .
bench: deps ## one line for each number the project promises: name, value, target, ok or short; ONLY=regex for a part
	@TENLOOM_TEST_VAULT="$$(.ci/vault)" TENLOOM_TEST_COMPONENTS="$$(.ci/components)" $(GO) test -run '^$$' -bench '^BenchmarkPromises$$/$(ONLY)' -benchtime 1x -timeout 30m ./cmd/tenloom | .ci/promises

guests: ## rebuild the prebuilt guests, those that are embedded and those that tests use
	.ci/guests

components: ## build the large components that tests and measurements take, into the cache; name what cannot be built
	.ci/components

wast: ## hold the component model's own scripts against our decoder; WAST="folder ..." names check-outs of them
	.ci/wast $(WAST)

fuzz: ## each fuzz target for FUZZTIME
	.ci/fuzz $(or $(FUZZTIME),30s)

deps: ## what tests need beside Go
	@.ci/deps

clean:
	rm -rf bin
