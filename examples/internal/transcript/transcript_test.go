package transcript

import (
	"slices"
	"testing"
)

const example = `# Page

## one

    go run ./one

` + "```console\n$ echo a\na\n$ printf 'b\\n' |\\\n  cat\nb\n```\n\n```console\n$ true\n```\n" + `
## two

` + "```console\n$ echo c\nc\n```\n"

func TestParse(t *testing.T) {
	want := []command{{"echo a", "a\n"}, {"printf 'b\\n' |\\\n  cat", "b\n"}, {"true", ""}}
	if got := parse(example, "one"); !slices.Equal(got, want) {
		t.Errorf("parse: got %q, want %q", got, want)
	}
	if got := parse(example, "three"); len(got) != 0 {
		t.Errorf("parse of a section that is missing: got %q, want none", got)
	}
	for _, c := range want {
		if got := run(t, t.TempDir(), c.line); got != c.output {
			t.Errorf("run %q: got %q, want %q", c.line, got, c.output)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		match     bool
	}{
		{"a.b\n", "a.b\n", true},
		{"a.b\n", "acb\n", false},
		{"a\n", "a\nb\n", false},
		{"", "", true},
		{"", "x\n", false},
		{"id … of …\n", "id 7 of 9\n", true},
		{"id …\n", "id 7\nmore\n", false},
		{"a\n…\nz\n", "a\nb\nc\nz\n", true},
		{"a\n…\nz\n", "a\nz\n", true},
		{"a\n…\nz\n", "a\nb\n", false},
		{"…\nz\n", "a\nb\nz\n", true},
	} {
		if got := pattern(tt.want).MatchString(tt.got); got != tt.match {
			t.Errorf("pattern(%q) on %q: got %t, want %t", tt.want, tt.got, got, tt.match)
		}
	}
}
