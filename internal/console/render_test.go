package console

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
)

var update = flag.Bool("update", false, "write the golden files")

var wideTable = &client.Answer{
	Result: json.RawMessage(`[
		{"id":1,"peer":"10.0.0.1:40000","listener":"rpc-shell-tls","state":"active","sent":1258291,"age":63.4,"since":"nonsense"},
		{"id":12345,"peer":"[2001:db8:ffff::1]:50000","listener":"日本語リスナー","state":"closing","sent":512,"age":0.0125,"since":"nonsense"},
		{"id":7,"peer":"unix \u001b[31m","listener":"a","state":null,"sent":0,"age":90061,"since":"nonsense"}]`),
	Columns: []shell.Column{
		{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"}, {Key: "peer", Title: "PEER"},
		{Key: "state", Title: "STATE", Wide: true}, {Key: "sent", Title: "SENT", Right: true, Kind: shell.KindBytes},
		{Key: "age", Title: "AGE", Right: true, Kind: shell.KindDuration}, {Key: "since", Wide: true, Kind: shell.KindTime},
	},
	Total: 120,
}

func TestTableFits(t *testing.T) {
	var got strings.Builder
	for _, width := range []int{0, 100, 80, 70, 60, 40, 20, 5} {
		text := style{width: width}.render(wideTable)
		fmt.Fprintf(&got, "-- %d\n%s", width, text)
		for line := range strings.Lines(text) {
			if w := textWidth(strings.TrimSuffix(line, "\n")); width > 0 && w > width {
				t.Errorf("got a line of %d columns, want at most %d: %q", w, width, line)
			}
		}
	}
	const golden = "testdata/tables.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("tables (-want +got), to accept: go test ./internal/console -run TestTableFits -update\n%s", diff)
	}
}

func TestRender(t *testing.T) {
	for _, x := range []struct {
		name   string
		answer client.Answer
		style  style
		want   string
	}{
		{"no result", client.Answer{}, style{}, ""},
		{"text", client.Answer{Result: json.RawMessage(`"a\nb"`)}, style{}, "a\nb\n"},
		{"lines", client.Answer{Result: json.RawMessage(`["a","b"]`)}, style{}, "a\nb\n"},
		{"other", client.Answer{Result: json.RawMessage(`{"a":[1]}`)}, style{}, "{\n  \"a\": [\n    1\n  ]\n}\n"},
		{"empty table", client.Answer{Result: json.RawMessage(`[]`), Columns: []shell.Column{{Key: "a"}}}, style{}, "(none)\n"},
		{"fields", client.Answer{Result: json.RawMessage(`{"up":3600,"n":12345678901234567890}`), Fields: []shell.Column{{Key: "up", Title: "Uptime", Kind: shell.KindDuration}, {Key: "n"}}}, style{},
			"Uptime:  1h0m0s\nn:       12345678901234567890\n"},
		{"columns without a table", client.Answer{Result: json.RawMessage(`"x"`), Columns: []shell.Column{{Key: "a"}}}, style{}, "x\n"},
		{"escapes on a terminal", client.Answer{Result: json.RawMessage(`"\u001b[31mred\u001b[0m \u001b]0;title\u0007"`)}, style{width: 80}, "\x1b[31mred\x1b[0m \\x1b]0;title\\a\n"},
		{"marks of direction", client.Answer{Result: json.RawMessage(`[{"a":"\u202ex"}]`), Columns: []shell.Column{{Key: "a"}}}, style{}, "a\n\\u202ex\n"},
		{"progress in a file", client.Answer{Result: json.RawMessage(`[{"a":0.5}]`), Columns: []shell.Column{{Key: "a", Kind: shell.KindShare}}}, style{}, "a\n50 %\n"},
		{"progress on a terminal", client.Answer{Result: json.RawMessage(`[{"a":0.5}]`), Columns: []shell.Column{{Key: "a", Kind: shell.KindShare}}}, style{width: 80}, "a\n[##########          ]  50 %\n"},
		{"color", client.Answer{Result: json.RawMessage(`[{"a":1}]`), Columns: []shell.Column{{Key: "a"}}}, style{color: true}, "\x1b[1ma\x1b[0m\n1\n"},
	} {
		if diff := cmp.Diff(x.want, x.style.render(&x.answer)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

func TestFormatCell(t *testing.T) {
	for _, x := range []struct {
		json string
		kind string
		want string
	}{
		{`0`, "bytes", "0 B"}, {`1023`, "bytes", "1023 B"}, {`1024`, "bytes", "1.0 KiB"}, {`1258291`, "bytes", "1.2 MiB"},
		{`1048575`, "bytes", "1.0 MiB"}, {`9223372036854775807`, "bytes", "8.0 EiB"}, {`-2048`, "bytes", "-2.0 KiB"}, {`18446744073709551615`, "bytes", "18446744073709551615"},
		{`63.4`, "duration", "1m3s"}, {`0.0125`, "duration", "12.5ms"}, {`1.26`, "duration", "1.2s"}, {`0`, "duration", "0s"}, {`90061`, "duration", "1d1h"}, {`-90061`, "duration", "-1d1h"}, {`1e300`, "duration", "1e300"},
		{`0.25`, "share", "[#####               ]  25 %"}, {`1`, "share", "[####################] 100 %"}, {`0.999`, "share", "[################### ]  99 %"}, {`-1`, "share", "[                    ]   0 %"},
		{`{"user":"Ann B","client":"7"}`, "", `client=7 user="Ann B"`}, {`{}`, "", ""}, {`{"a":"\u202e"}`, "", `a="\u202e"`},
		{`"x"`, "bytes", "x"}, {`null`, "", "-"}, {`true`, "", "true"}, {`{"a":1}`, "", `{"a":1}`}, {`1.50`, "", "1.50"},
	} {
		var v any
		if err := decode(json.RawMessage(x.json), &v); err != nil {
			t.Fatal(err)
		}
		if got := formatCell(v, x.kind); got != x.want {
			t.Errorf("%s as %q: got %q, want %q", x.json, x.kind, got, x.want)
		}
	}
}

func TestWidth(t *testing.T) {
	for _, x := range []struct {
		s     string
		width int
		to    int
		short string
	}{
		{"abc", 3, 2, "a…"}, {"日本", 4, 3, "日…"}, {"日本", 4, 2, "…"}, {"e\u0301x", 2, 1, "…"}, {"abc", 3, 3, "abc"}, {"abc", 3, 0, ""},
	} {
		if got := textWidth(x.s); got != x.width {
			t.Errorf("width of %q: got %d, want %d", x.s, got, x.width)
		}
		if got := shorten(x.s, x.to); got != x.short {
			t.Errorf("%q in %d columns: got %q, want %q", x.s, x.to, got, x.short)
		}
	}
}

func TestLastWord(t *testing.T) {
	for line, want := range map[string]int{"": 0, "sta": 0, "a b": 2, "a ": 2, `a "b c`: 2, `a b\ c`: 2, `a \`: 2} {
		if got := lastWord(line); got != want {
			t.Errorf("%q: got %d, want %d", line, got, want)
		}
	}
}

// FuzzRender checks that any result is rendered as whole lines.
func FuzzRender(f *testing.F) {
	f.Add([]byte(`[{"a":1}]`), "a", "bytes", 3)
	f.Add([]byte(`{"a":"x"}`), "a", "time", 0)
	f.Add([]byte(`["\u001b[31m"]`), "", "duration", 0)
	f.Add([]byte(`{`), "b", "", 0)
	f.Fuzz(func(t *testing.T, result []byte, key, kind string, total int) {
		columns := []shell.Column{{Key: key, Kind: kind}, {Key: "b", Right: true, Wide: true}}
		for _, a := range []*client.Answer{{Result: result}, {Result: result, Columns: columns, Total: total}, {Result: result, Fields: columns}} {
			for _, width := range []int{0, 1, 7, 80} {
				text := style{width: width}.render(a)
				if text != "" && !strings.HasSuffix(text, "\n") {
					t.Errorf("width %d: got %q, want a line feed at the end", width, text)
				}
			}
		}
	})
}

// Each line of a joined error is a line of its own; control characters in it are escaped.
func TestScreenErrorWithSeveralLines(t *testing.T) {
	var out strings.Builder
	s := Screen{Out: &out}
	s.Error(errors.Join(errors.New("first"), errors.New("second\x1b[31m")))
	if diff := cmp.Diff("error: first\nerror: second\\x1b[31m\n", out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
