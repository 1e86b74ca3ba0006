package client

import (
	"strings"
	"testing"
)

// FuzzParse checks that any line is either text or has exactly one meaning.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		`{"id":1,"result":null}`, `{"id":1,"out":""}`, `{"id":1,"out64":"AA=="}`, `{"event":"lost","bytes":3}`, `{"event":"taken_over","by":"x"}`,
		`{"id":2,"frame":true,"result":[{}],"columns":[{"key":"a","kind":"bytes"}],"total":7}`, `{"id":3,"error":{"message":"m","suggestion":"s","code":"c"}}`,
		`{"id":4,"result":{},"fields":[{"key":"a","title":"A"}]}`, `{"result":1}`, "text", "{", "", "[1]", "null",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, ok := parse(line)
		if !ok {
			if m.ID != nil || m.Event != "" {
				t.Errorf("got %+v for text, want the zero value", m)
			}
			return
		}
		if m.ID == nil && m.Event == "" {
			t.Error("got neither an id nor an event, want one")
		}
		if m.ID != nil && m.answers(*m.ID) && (m.isOutput() || m.Frame || m.Event != "") {
			t.Errorf("got an answer that is something else too: %+v", m)
		}
		if a := m.answer(); string(a.Result) == "null" || a.Result != nil && !strings.Contains(string(line), string(a.Result)) {
			t.Errorf("got the result %q, want a part of the line or nil", a.Result)
		}
		m.output()
	})
}
