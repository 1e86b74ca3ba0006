package shell

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTableFits(t *testing.T) {
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
		if diff := cmp.Diff(tt.want, table.Text(tt.width)); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", tt.width, diff)
		}
	}
}

func TestBytes(t *testing.T) {
	for b, want := range map[Bytes]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1258291: "1.2 MiB", 1<<64 - 1: "16.0 EiB"} {
		if got := b.String(); got != want {
			t.Errorf("%d: got %q, want %q", uint64(b), got, want)
		}
	}
}

func TestRegistry(t *testing.T) {
	run := echo
	var r Registry
	if err := r.Add(Command{Name: "one", Aliases: []string{"uno"}, Run: run}); err != nil {
		t.Fatal(err)
	}
	err := r.Add(Command{Name: "two", Run: run}, Command{Name: "uno", Run: run}, Command{Name: "a b"}, Command{Name: "x", Run: run, MinArgs: 2, MaxArgs: 1, Flags: []Flag{{Name: "f", Choices: []string{"a"}}, {Name: "f"}}})
	want := `the command cannot be added: uno: the name uno is taken
the command cannot be added: "a b": name "a b": allowed are 1 to 64 letters, digits, "-", "_" and ".", a letter or digit first
the command cannot be added: "a b": Run is missing
the command cannot be added: "x": MinArgs 2 and MaxArgs 1: allowed are numbers from 0, the second not below the first or negative
the command cannot be added: "x": flag f: a switch has no Choices
the command cannot be added: "x": flag "f": allowed are names like those of commands, each once`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if _, ok := r.Lookup("two"); ok {
		t.Error("some were added")
	}
	if got := r.suggest("oen", Viewer); got != "one" {
		t.Errorf("suggested %q", got)
	}
	h := serve(t, Options{})
	if err := h.Registry().Add(Command{Name: "status", Role: Viewer, Run: func(_ context.Context, c *Call) error { c.Return("mine"); return nil }}); err != nil {
		t.Error(err)
	}
	if err := h.Registry().Add(Command{Name: "pwd", Run: run}); err == nil {
		t.Error("pwd can be replaced")
	}
	h.dial().ask("status", "mine")
}
