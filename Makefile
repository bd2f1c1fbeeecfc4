# `make` alone shows the targets. The tools that are written in Go have their
# versions in go.mod; the others come from the distribution (scripts/install-deps).

GO      ?= $(shell command -v go || echo /usr/local/go/bin/go)
SHELL   := /bin/bash
PREFIX  ?= /usr/local
DESTDIR ?=
FUZZTIME ?= 10s
SOAKTIME ?= 60m
SCRIPTS := .ci/run scripts/build scripts/fuzz scripts/install-deps scripts/netns-lab.sh scripts/test bench/run bench/rip bench/dns bench/dhcp labs/*.sh test/chaos/chaos.sh

.DEFAULT_GOAL := help
.PHONY: help build test unit race fuzz lint bench soak lab check clean install uninstall

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## static vrouterd and vrctl in bin/
	scripts/build

test: ## every test, real namespaces included (as root; installs what they call)
	GOFLAGS="$(GOFLAGS)" scripts/test

unit: ## the tests that need no privileges
	$(GO) test $$($(GO) list ./... | grep -v -e /test/integration -e /internal/port -e /bench)

race: ## the tests that need no privileges, under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./... | grep -v -e /test/integration -e /internal/port -e /bench)

fuzz: ## every fuzz target for FUZZTIME (10s)
	scripts/fuzz $(FUZZTIME)

lint: ## gofmt, go vet, staticcheck, shellcheck
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "gofmt -w the files above" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	shellcheck $(SCRIPTS)

bench: ## vrouterd against its peers, rows in bench/RESULTS.md (as root)
	bench/run && bench/rip && bench/dns && bench/dhcp && bench/fib

soak: ## the tests in real namespaces over and over for SOAKTIME (60m; as root)
	@end=$$(( $$(date +%s) + $$(d=$(SOAKTIME); case $$d in *h) echo $$(( $${d%h} * 3600 ));; *m) echo $$(( $${d%m} * 60 ));; *s) echo $${d%s};; *) echo $$d;; esac) )); \
	while [ $$(date +%s) -lt $$end ]; do $(GO) test -count=1 -timeout 15m ./test/integration/ || exit 1; done

lab: ## raise the demo lab, show it, take it down (as root)
	scripts/netns-lab.sh demo

check: build ## the sample configurations through vrouterd check
	@for f in configs/*.yaml; do echo "vrouterd check $$f"; bin/vrouterd check "$$f" || exit 1; done

clean: ## remove what was built
	rm -rf bin bench/out
	$(GO) clean -testcache

install: build ## binaries, units and a sample configuration under PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/systemd/system $(DESTDIR)/etc/vrouterd
	install -m 0755 bin/vrouterd $(DESTDIR)$(PREFIX)/sbin/vrouterd
	install -m 0755 bin/vrctl $(DESTDIR)$(PREFIX)/bin/vrctl
	for unit in vrouterd@.service vrouterd-lab@.service; do \
		sed 's,/usr/local/,$(PREFIX)/,g' deploy/$$unit > $(DESTDIR)/etc/systemd/system/$$unit; done
	install -D -m 0644 deploy/vrouterd.sysusers $(DESTDIR)/usr/lib/sysusers.d/vrouterd.conf
	test -e $(DESTDIR)/etc/vrouterd/sample.yaml || install -m 0640 configs/bridge.yaml $(DESTDIR)/etc/vrouterd/sample.yaml

uninstall: ## what install put there, the configuration apart
	rm -f $(DESTDIR)$(PREFIX)/sbin/vrouterd $(DESTDIR)$(PREFIX)/bin/vrctl \
		$(DESTDIR)/etc/systemd/system/vrouterd@.service $(DESTDIR)/etc/systemd/system/vrouterd-lab@.service \
		$(DESTDIR)/usr/lib/sysusers.d/vrouterd.conf
