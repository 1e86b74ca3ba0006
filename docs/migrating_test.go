package docs

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The code of the page is that of examples, which are compiled and run, and its line counts are
// right.
func TestMigratingShowsTheExamples(t *testing.T) {
	var sources strings.Builder
	for _, pattern := range []string{"../examples/migrating/*.go", "../examples/mqtt/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: got no files (error %v), want some", pattern, err)
		}
		for _, file := range files {
			sources.WriteString(read(t, file))
		}
	}
	counted := regexp.MustCompile("(?m)^(Before|After): ([0-9]+) lines\\.\n\n```go\n((?s:.*?))```\n")
	page := read(t, "migrating.md")
	found := counted.FindAllStringSubmatch(page, -1)
	if want := strings.Count(page, "```go\n"); len(found) != want || want == 0 {
		t.Errorf("migrating.md: got %d blocks of Go with a count of lines, want %d", len(found), want)
	}
	for _, m := range found {
		lines := 0
		for line := range strings.Lines(m[3]) {
			if strings.TrimSpace(line) != "" {
				lines++
			}
		}
		if m[2] != strconv.Itoa(lines) {
			t.Errorf("migrating.md: got %q, want %d lines, for\n%s", m[1]+": "+m[2]+" lines", lines, m[3])
		}
		if !strings.Contains(sources.String(), m[3]) {
			t.Errorf("not in the examples:\n%s", m[3])
		}
	}
}

// Each example has a section in the page of examples, or a row, with its command.
func TestExamplesListsAllExamples(t *testing.T) {
	page := read(t, "examples.md")
	programs, err := filepath.Glob("../examples/*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("examples: got none (error %v), want some", err)
	}
	for _, program := range programs {
		if command := "go run ./" + filepath.Base(filepath.Dir(program)); !strings.Contains(page, command) {
			t.Errorf("examples.md: got no %q, want it", command)
		}
	}
}
