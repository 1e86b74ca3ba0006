package console

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

var wideTable = &Answer{
	Result: json.RawMessage(`[
		{"id":1,"peer":"10.0.0.1:40000","listener":"rpc-shell-tls","state":"active","sent":1258291,"age":63.4,"since":"nonsense"},
		{"id":12345,"peer":"[2001:db8:ffff::1]:50000","listener":"日本語リスナー","state":"closing","sent":512,"age":0.0125,"since":"nonsense"},
		{"id":7,"peer":"unix \u001b[31m","listener":"a","state":null,"sent":0,"age":90061,"since":"nonsense"}]`),
	Columns: []Column{
		{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"}, {Key: "peer", Title: "PEER"},
		{Key: "state", Title: "STATE", Wide: true}, {Key: "sent", Title: "SENT", Right: true, Kind: "bytes"},
		{Key: "age", Title: "AGE", Right: true, Kind: "duration"}, {Key: "since", Wide: true, Kind: "time"},
	},
	Total: 120,
}

func TestTableFits(t *testing.T) {
	var got strings.Builder
	for _, width := range []int{0, 100, 80, 70, 60, 40, 20, 5} {
		text := Style{Width: width}.Render(wideTable)
		fmt.Fprintf(&got, "-- %d\n%s", width, text)
		for line := range strings.Lines(text) {
			if w := textWidth(strings.TrimSuffix(line, "\n")); width > 0 && w > width {
				t.Errorf("a line of %d cells for %d: %q", w, width, line)
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
		t.Errorf("-want +got; if that is meant: go test ./internal/console -run TestTableFits -update\n%s", diff)
	}
}

func TestRender(t *testing.T) {
	for _, x := range []struct {
		name   string
		answer Answer
		style  Style
		want   string
	}{
		{"nothing", Answer{}, Style{}, ""},
		{"text", Answer{Result: json.RawMessage(`"a\nb"`)}, Style{}, "a\nb\n"},
		{"lines", Answer{Result: json.RawMessage(`["a","b"]`)}, Style{}, "a\nb\n"},
		{"other", Answer{Result: json.RawMessage(`{"a":[1]}`)}, Style{}, "{\n  \"a\": [\n    1\n  ]\n}\n"},
		{"empty table", Answer{Result: json.RawMessage(`[]`), Columns: []Column{{Key: "a"}}}, Style{}, "(none)\n"},
		{"fields", Answer{Result: json.RawMessage(`{"up":3600,"n":12345678901234567890}`), Fields: []Field{{Key: "up", Title: "Uptime", Kind: "duration"}, {Key: "n"}}}, Style{},
			"Uptime:  1h0m0s\nn:       12345678901234567890\n"},
		{"shape of something else", Answer{Result: json.RawMessage(`"x"`), Columns: []Column{{Key: "a"}}}, Style{}, "x\n"},
		{"escapes on a terminal", Answer{Result: json.RawMessage(`"\u001b[31mred\u001b[0m \u001b]0;title\u0007"`)}, Style{Width: 80}, "\x1b[31mred\x1b[0m \\x1b]0;title\\a\n"},
		{"colour", Answer{Result: json.RawMessage(`[{"a":1}]`), Columns: []Column{{Key: "a"}}}, Style{Color: true}, "\x1b[1ma\x1b[0m\n1\n"},
	} {
		if diff := cmp.Diff(x.want, x.style.Render(&x.answer)); diff != "" {
			t.Errorf("%s: %s", x.name, diff)
		}
	}
}

func TestFormatCell(t *testing.T) {
	for _, x := range []struct{ json, kind, want string }{
		{`0`, "bytes", "0 B"}, {`1023`, "bytes", "1023 B"}, {`1024`, "bytes", "1.0 KiB"}, {`1258291`, "bytes", "1.2 MiB"},
		{`1048575`, "bytes", "1.0 MiB"}, {`9223372036854775807`, "bytes", "8.0 EiB"}, {`-2048`, "bytes", "-2.0 KiB"}, {`18446744073709551615`, "bytes", "18446744073709551615"},
		{`63.4`, "duration", "1m3s"}, {`0.0125`, "duration", "12.5ms"}, {`1.26`, "duration", "1.2s"}, {`0`, "duration", "0s"}, {`90061`, "duration", "1d1h"}, {`-90061`, "duration", "-1d1h"}, {`1e300`, "duration", "1e300"},
		{`"x"`, "bytes", "x"}, {`null`, "", "-"}, {`true`, "", "true"}, {`{"a":1}`, "", `{"a":1}`}, {`1.50`, "", "1.50"},
	} {
		var v any
		if err := decode(json.RawMessage(x.json), &v); err != nil {
			t.Fatal(err)
		}
		if got := formatCell(v, x.kind); got != x.want {
			t.Errorf("%s as %q: %q, want %q", x.json, x.kind, got, x.want)
		}
	}
}

func TestWidth(t *testing.T) {
	for _, x := range []struct {
		s     string
		cells int
		to    int
		short string
	}{
		{"abc", 3, 2, "a…"}, {"日本", 4, 3, "日…"}, {"日本", 4, 2, "…"}, {"e\u0301x", 2, 1, "…"}, {"abc", 3, 3, "abc"}, {"abc", 3, 0, ""},
	} {
		if got := textWidth(x.s); got != x.cells {
			t.Errorf("%q has %d cells, want %d", x.s, got, x.cells)
		}
		if got := shorten(x.s, x.to); got != x.short {
			t.Errorf("%q in %d cells is %q, want %q", x.s, x.to, got, x.short)
		}
	}
}

func TestQuoteAndLastWord(t *testing.T) {
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"echo", "a", "", "b c", `"\`, "it's"}, `echo a "" "b c" "\"\\" "it's"`},
		{[]string{"method:{", `"a": 1}`}, `method:{ "a": 1}`},
	} {
		if got := Line(x.args); got != x.want {
			t.Errorf("%q: %s, want %s", x.args, got, x.want)
		}
	}
	for line, want := range map[string]int{"": 0, "sta": 0, "a b": 2, "a ": 2, `a "b c`: 2, `a b\ c`: 2, `a \`: 2} {
		if got := lastWord(line); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}
