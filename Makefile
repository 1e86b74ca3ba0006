# Pinned tools; each runs through the go command and installs nothing.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.6.0
FUZZTIME   ?= 10s
PACKAGES   ?= ./...
CROSS      ?= darwin/arm64 windows/amd64

.PHONY: test race vet lint vuln fuzz examples bench costs scale cross module-path

test:
	go test ./...

# go vet has run before, and the debugger's tables slow down linking.
race:
	go test -race -shuffle=on -vet=off -ldflags=-w $(RACEFLAGS) $(PACKAGES)

vet:
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	cd examples && go vet ./...
	cd bench && go vet ./...

lint:
	go run $(STATICCHECK) ./...

vuln:
	go run $(GOVULNCHECK) ./...

# Two targets at a time, with a worker each: they spend much of their time on starting.
fuzz:
	@go list ./... | while read p; do go test -list '^Fuzz' $$p | grep '^Fuzz' | sed "s|^|$$p |"; done | shuf | \
	sed 's|$$| $(FUZZTIME)|' | xargs -P 2 -L 1 .ci/fuzz

examples:
	cd examples && go build -o /dev/null ./... && go test ./... && go run ./cap && go run ./http && go run ./grpc && go run ./room

bench:
	cd bench && go run .

# Prints the table of docs/operations.md; takes 4 minutes, on Linux only. ROWS selects a part, such as shell.
costs:
	@go test ./cmd/ranchd -run XXX -bench 'Hostile/$(ROWS)' -benchtime 1x | sed -n '/^|/p;/FAIL/p'

# Measures one to three nodes, and rewrites bench/scale/costs.json, and the tables and plots of docs/scale.md.
# Takes about 4 minutes, on Linux only, and needs a machine on which nothing else runs. More rounds: make scale NODES='--rounds 4'
scale:
	cd bench && go run . nodes $(NODES) --write scale/costs.json && go run ./scale --write

cross:
	for t in $(CROSS); do \
	  GOOS=$${t%/*} GOARCH=$${t#*/} go vet ./... || exit 1; \
	done

# Sets the path of the module: make module-path MODULE=example.org/you/goranch
module-path:
	@go run ./internal/modulepath '$(MODULE)'
