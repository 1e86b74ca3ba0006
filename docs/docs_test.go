// Package docs tests that the documentation matches the code.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
)

// The README's program is the example of that name, letter by letter, so it is built
// and run with the examples.
func TestREADMEShowsTheQuickstart(t *testing.T) {
	readme := read(t, "../README.md")
	_, rest, ok := strings.Cut(readme, "```go\n")
	if !ok {
		t.Fatal("README.md shows no Go")
	}
	shown, _, _ := strings.Cut(rest, "```")
	if diff := cmp.Diff(read(t, "../examples/quickstart/main.go"), shown); diff != "" {
		t.Errorf("README.md differs from examples/quickstart/main.go (-example +readme):\n%s", diff)
	}
}

// The guide's protocol that sends files is the example of SendFile, which runs.
func TestGuideShowsSendFile(t *testing.T) {
	_, rest, ok := strings.Cut(read(t, "guide.md"), "## Send a file\n\n```go\n")
	shown, _, _ := strings.Cut(rest, "```")
	if !ok || !strings.Contains(read(t, "../transport/example_socket_test.go"), shown) {
		t.Errorf("transport/example_socket_test.go does not contain what guide.md shows:\n%s", shown)
	}
}

// What the guide shows of proxies is taken from examples that run.
func TestGuideShowsTheProxyExamples(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "guide.md"), "\n## Behind a proxy\n")
	section, _, _ = strings.Cut(section, "\n## ")
	examples := unindented(read(t, "../transport/proxy/example_test.go"))
	blocks := strings.Split(section, "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("guide.md shows no Go behind a proxy")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(examples, unindented(block)) {
			t.Errorf("not in ../transport/proxy/example_test.go:\n%s", block)
		}
	}
}

// The code in the guide's section on TLS is taken from examples, which are run.
func TestGuideShowsExamplesOfTLS(t *testing.T) {
	examples := unindented(read(t, "../transport/certs/example_test.go") + read(t, "../transport/tls_example_test.go"))
	_, section, ok := strings.Cut(read(t, "guide.md"), "\n## TLS\n")
	if !ok {
		t.Fatal("guide.md has no section TLS")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := strings.Split(section, "```")
	if len(blocks) < 3 {
		t.Fatal("the section shows no code")
	}
	for i := 1; i < len(blocks); i += 2 {
		code, ok := strings.CutPrefix(blocks[i], "go\n")
		if !ok || !strings.Contains(examples, unindented(code)) {
			t.Errorf("no example has this code:\n%s", blocks[i])
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	heading = regexp.MustCompile("(?m)^#+ (.*)$")
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	noSlug  = regexp.MustCompile(`[^\pL\pN_ -]`)
)

// Each link to a file leads to one that exists, and each anchor to a heading of its page.
func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../README.md", "../CHANGELOG.md", "../bench/README.md")
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			target := filepath.Join(filepath.Dir(page), m[1])
			if m[1] == "" {
				target = page
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link to %s: %v", page, m[1], err)
			} else if m[2] != "" && !anchors(t, target)[m[2]] {
				t.Errorf("%s: link to %s#%s: got no such heading, want one", page, m[1], m[2])
			}
		}
	}
}

// anchors returns the anchors that GitHub gives the headings of a page.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
		slug := strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		for n, first := 1, slug; all[slug]; n++ {
			slug = fmt.Sprint(first, "-", n)
		}
		all[slug] = true
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The table of reasons lists each reason for which a connection can end.
func TestOperationsListsAllReasons(t *testing.T) {
	_, table, ok := strings.Cut(read(t, "operations.md"), "| reason | meaning |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !ok {
		t.Fatal("operations.md: got no table of reasons, want one")
	}
	listed := map[string]bool{}
	for _, row := range strings.Split(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		for _, name := range strings.Split(cell, ", ") {
			listed[name] = true
		}
	}
	for r := conns.Finished; !strings.HasPrefix(r.Error(), "Reason("); r++ {
		if !listed[r.Error()] {
			t.Errorf("operations.md: got no reason %q, want it in the table", r.Error())
		}
	}
}

// The log messages about certificates are those of ranchd.
func TestOperationsListsMessagesOfRanchd(t *testing.T) {
	_, table, ok := strings.Cut(read(t, "operations.md"), "| message | level | meaning |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !ok {
		t.Fatal("operations.md: got no table of messages, want one")
	}
	source := ""
	files, err := filepath.Glob("../cmd/ranchd/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		source += read(t, f)
	}
	for _, row := range strings.Split(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		for _, message := range strings.Split(cell, ", ") {
			if !strings.Contains(source, `"`+message+`"`) {
				t.Errorf("operations.md: got message %q, want one that ranchd logs", message)
			}
		}
	}
}
