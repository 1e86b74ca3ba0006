package packet

import (
	"encoding/json"
	"testing"
)

// FuzzParse checks that every frame either has a fault or yields requests whose responses are JSON.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","method":"m","params":[1],"id":1}`, `{"jsonrpc":"2.0","method":"m"}`, `[]`, `[1,{}]`, `{`, ``, ` null`,
		`{"jsonrpc":"2.0","method":"m","params":{"a":1,"b":"x"},"id":null}`, `[{"jsonrpc":"2.0","method":"m","params":["a",2],"id":"\ud800"}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		requests, batch, fault := parse(frame, 10)
		if fault != nil {
			return
		}
		if !batch && len(requests) != 1 || batch && (len(requests) == 0 || len(requests) > 10) {
			t.Fatalf("%q: got %d requests, want 1, or 1 to 10 in a batch", frame, len(requests))
		}
		for _, r := range requests {
			var out []byte
			if r.fault != nil {
				if r.id == nil {
					t.Fatalf("%q: got a notification, want an error with an id", frame)
				}
				out = appendError(nil, r.id, r.fault)
			} else if r.id != nil {
				out = appendResult(nil, r.id, null)
			}
			if out != nil && !json.Valid(out) {
				t.Fatalf("%q: got %q, want JSON", frame, out)
			}
		}
	})
}
