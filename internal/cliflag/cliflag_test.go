package cliflag_test

import (
	"slices"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"goranch/internal/cliflag"
)

func TestError(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--text"}, "--text: the value is missing"},
		{[]string{"--text", "-3"}, "--text: the value is missing; one that begins with - is written --text=-3"},
		{[]string{"--text", "--number"}, "--text: the value is missing; one that begins with - is written --text=--number"},
		{[]string{"--number", "x"}, `--number "x": allowed are whole numbers`},
		{[]string{"--time", "3"}, `--time "3": allowed are durations such as 500ms, 5s or 2m`},
		{[]string{"--kind", "c"}, `--kind "c": allowed are a, b`},
		{[]string{}, "arguments are missing: <word>"},
		{[]string{"--bogus"}, "unknown flag --bogus"},
		{[]string{"--short=x"}, `--short "x": allowed are true and false`},
		{[]string{"--x"}, "unknown flag --x"},
	} {
		var flags struct {
			Text   string
			Number int
			Time   time.Duration
			Kind   string `enum:"a,b" default:"a"`
			Short  bool   `short:"s"`
			Word   string `arg:""`
		}
		_, err := kong.Must(&flags, kong.NoDefaultHelp()).Parse(c.args)
		if err == nil {
			t.Errorf("%q: got no error, want %q", c.args, c.want)
			continue
		}
		if got := cliflag.Error(err).Error(); got != c.want {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
}

func TestJoin(t *testing.T) {
	got := cliflag.Join([]string{"-3", "--a", "-3", "--b=1", "-4", "--c", "-x", "--d", "-.5", "e", "-6", "--f", "--", "-3", "--g", "-3"})
	want := []string{"-3", "--a=-3", "--b=1", "-4", "--c", "-x", "--d=-.5", "e", "-6", "--f", "--", "-3", "--g", "-3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
