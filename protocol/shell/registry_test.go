package shell

import (
	"context"
	"strconv"
	"testing"
)

func TestRegistry(t *testing.T) {
	run := echo
	var r registry
	if err := r.add([]Command{{Name: "one", Aliases: []string{"uno"}, Run: run}}); err != nil {
		t.Fatal(err)
	}
	err := r.add([]Command{{Name: "two", Run: run}, {Name: "uno", Run: run}, {Name: "a b"},
		{Name: "x", Run: run, MinArgs: 2, MaxArgs: 1, Flags: []Flag{{Name: "f", Choices: []string{"a"}}, {Name: "f"}}}})
	want := `command "uno": the name "uno" is in use
command "a b": name "a b": allowed are 1 to 64 letters, digits, "-", "_" and ".", beginning with a letter or digit
command "a b": Run is nil
command "x": MinArgs 2 and MaxArgs 1: allowed are a MinArgs from 0, and a MaxArgs from MinArgs or negative
command "x": flag "f": a switch cannot have Choices
command "x": flag "f": allowed are names like those of commands, each once`
	if err == nil || err.Error() != want {
		t.Errorf("got error\n%v\nwant\n%s", err, want)
	}
	if r.find("two") != nil {
		t.Error("after a failed add: got some of its commands, want none")
	}
	if got := r.suggest("oen", Viewer); got != "one" {
		t.Errorf("suggest(\"oen\"): got %q, want \"one\"", got)
	}
}

func TestAddCommands(t *testing.T) {
	srv := newTestServer(t, Options{})
	if err := srv.AddCommands(Command{Name: "status", Role: Viewer, Run: func(_ context.Context, c *Call) error { c.Return("replaced"); return nil }}); err != nil {
		t.Errorf("replacing status: got error %v, want none", err)
	}
	if err := srv.AddCommands(Command{Name: "pwd", Run: echo}); err == nil {
		t.Error("replacing pwd: got no error, want one")
	}
	srv.dial().ask("status", "replaced")
	names := map[string]bool{}
	for _, c := range srv.Commands() {
		names[c.Name] = true
	}
	if !names["status"] || !names["pwd"] || names["exit"] {
		t.Errorf("Commands: got %v, want status and pwd, and no aliases", names)
	}
}

// A command can identify the connection that called it.
func TestCallConn(t *testing.T) {
	srv := newTestServer(t, Options{Commands: []Command{{Name: "version", Run: func(_ context.Context, c *Call) error {
		c.Return(strconv.FormatUint(c.Conn().ID(), 10))
		return nil
	}}}})
	c := srv.dial()
	c.ask("version", strconv.FormatUint(srv.l.Connections()[0].ID, 10))
}
