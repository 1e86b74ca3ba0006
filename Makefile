# Pinned tools; each runs through the go command and installs nothing.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.6.0
FUZZTIME   ?= 10s

.PHONY: test race vet lint vuln fuzz examples bench cross

test:
	go test ./...

race:
	go test -race -shuffle=on ./...

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
	@go list ./... | while read p; do go test -list '^Fuzz' $$p | grep '^Fuzz' | sed "s|^|$$p |"; done | \
	sed 's|$$| $(FUZZTIME)|' | xargs -P 2 -L 1 .ci/fuzz

examples:
	cd examples && go build -o /dev/null ./... && go run ./cap && go run ./http && go run ./grpc && go run ./ssh && go run ./room

bench:
	cd bench && go run .

cross:
	for t in linux/arm64 darwin/arm64 windows/amd64; do \
	  GOOS=$${t%/*} GOARCH=$${t#*/} go vet ./... || exit 1; \
	done
