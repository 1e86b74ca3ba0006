package shell

import (
	"context"
	"strconv"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"ehco": "echo", "echo": "echo", "ech": "echo", "chatt": "chat", "nothing": "", "": "", strings.Repeat("e", 100): "",
	} {
		if got := Nearest(name, []string{"echo", "chat"}); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// A command can tell by which connection it is asked, and version can be another's.
func TestConnOfACall(t *testing.T) {
	h := serve(t, Options{Commands: []Command{{Name: "version", Run: func(_ context.Context, c *Call) error {
		c.Return(strconv.FormatUint(c.Conn().ID(), 10))
		return nil
	}}}})
	c := h.dial()
	c.ask("version", strconv.FormatUint(h.l.Connections()[0].ID, 10))
}
