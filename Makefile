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

fuzz:
	@go list ./... | while read p; do \
	  go test -list '^Fuzz' $$p | grep '^Fuzz' | while read f; do \
	    echo "fuzz $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done || exit 1; \
	done

examples:
	cd examples && go build -o /dev/null ./... && go run ./cap && go run ./http && go run ./grpc && go run ./ssh && go run ./room

bench:
	cd bench && go run .

cross:
	for t in linux/arm64 darwin/arm64 windows/amd64; do \
	  GOOS=$${t%/*} GOARCH=$${t#*/} go vet ./... || exit 1; \
	done
