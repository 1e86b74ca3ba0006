package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWebAccessFlags(t *testing.T) {
	got := mustParse(t, "--allowed-origin", "a.example.org,*.example.org:8443", "--allowed-origin", "*", "--allowed-host", "topics.example.org").Listeners[5].Web
	want := webConfig{MaxBrowsers: 10_000, Origins: []string{"a.example.org", "*.example.org:8443", "*"}, Hosts: []string{"topics.example.org"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var out bytes.Buffer
	if _, code, done := parse([]string{"--allowed-origin", "https://a.example.org", "--allowed-host", "["}, io.Discard, &out); !done || code == 0 {
		t.Fatalf("invalid hosts: got code %d, want a failure", code)
	}
	for _, want := range []string{`--allowed-origin "https://a.example.org": allowed are hosts without a scheme`, `--allowed-host "["`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("faults: got %s, want %q", &out, want)
		}
	}
}
