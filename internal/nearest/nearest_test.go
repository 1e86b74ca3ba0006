package nearest

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"ehco": "echo", "echo": "echo", "ech": "echo", "chatt": "chat", "nothing": "", "": "", strings.Repeat("e", 100): "",
	} {
		if got := Name(name, []string{"echo", "chat"}); got != want {
			t.Errorf("Name(%.10q): got %q, want %q", name, got, want)
		}
	}
}
