package shell

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTableWidth(t *testing.T) {
	table := Table{
		Columns: []Column{{Key: "name", Title: "NAME"}, {Key: "address", Title: "ADDRESS"}, {Key: "note", Title: "NOTE", Wide: true}, {Key: "age", Title: "AGE", Right: true}},
		Rows:    [][]any{{"alice", "192.0.2.1:50000", "a long note", 90 * time.Second}, {"böb", "192.0.2.2:1", "", 1500 * time.Millisecond}, {nil}},
	}
	tests := []struct {
		width int
		want  string
	}{
		{0, "NAME   ADDRESS          NOTE           AGE\nalice  192.0.2.1:50000  a long note  1m30s\nböb    192.0.2.2:1                    1.5s\n                                          \n"},
		{41, "NAME   ADDRESS            AGE\nalice  192.0.2.1:50000  1m30s\nböb    192.0.2.2:1       1.5s\n                             \n"},
		{24, "NAME   ADDRESS       AGE\nalice  192.0.2.1…  1m30s\nböb    192.0.2.2…   1.5s\n                        \n"},
		{1, "NAME  ADD…   AGE\nali…  192…  1m3…\nböb   192…  1.5s\n                \n"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, string(table.appendText(nil, tt.width))); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", tt.width, diff)
		}
	}
}

func TestBytes(t *testing.T) {
	for b, want := range map[Bytes]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1258291: "1.2 MiB", 1<<64 - 1: "16.0 EiB"} {
		if got := b.String(); got != want {
			t.Errorf("Bytes(%d): got %q, want %q", uint64(b), got, want)
		}
	}
}
