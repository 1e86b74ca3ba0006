package packet

import (
	"encoding/json"
	"testing"
)

// FuzzParse: whatever comes is answered by JSON-RPC, or not at all, and nothing panics.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","method":"m","params":[1],"id":1}`, `{"jsonrpc":"2.0","method":"m"}`, `[]`, `[1,{}]`, `{`, ``, ` null`,
		`{"jsonrpc":"2.0","method":"m","params":{"a":1,"b":"x"},"id":null}`, `[{"jsonrpc":"2.0","method":"m","params":["a",2],"id":"\ud800"}]`,
	} {
		f.Add([]byte(s))
	}
	s, err := NewServer(Options{})
	if err != nil {
		f.Fatal(err)
	}
	s.methods.Store("m", method(func(_ *Call, params json.RawMessage) (any, error) { return params, nil }))
	f.Fuzz(func(t *testing.T, frame []byte) {
		requests, batch, fault := parse(frame, 10)
		if fault != nil {
			return
		}
		if !batch && len(requests) != 1 || batch && (len(requests) == 0 || len(requests) > 10) {
			t.Fatalf("%d requests of %q", len(requests), frame)
		}
		for _, r := range requests {
			var out []byte
			if r.fault != nil {
				if r.id == nil {
					t.Fatalf("what is no request is taken for a notification: %q", frame)
				}
				out = appendError(nil, r.id, r.fault)
			} else if r.id != nil {
				out = appendResult(nil, r.id, null)
			}
			if out != nil && !json.Valid(out) {
				t.Fatalf("%q is answered by %q", frame, out)
			}
		}
	})
}
