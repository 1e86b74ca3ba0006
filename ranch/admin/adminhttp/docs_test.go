package adminhttp_test

import (
	"os"
	"strings"
	"testing"

	"goranch/ranch/admin/adminhttp"
)

// The page lists every path that is no command, and shows the example's options.
func TestThePage(t *testing.T) {
	b, err := os.ReadFile("../../../docs/dashboard.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	h, err := adminhttp.New(adminhttp.Options{Logger: discardLogger})
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range adminhttp.Routes(h) {
		if !strings.Contains(page, "`"+route+"`") {
			t.Errorf("dashboard.md: got no `%s`, want each path", route)
		}
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(page, "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	if shown == "" || !strings.Contains(unindented(string(example)), unindented(shown)) {
		t.Errorf("example_test.go does not contain what dashboard.md shows:\n%s", shown)
	}
}

func unindented(code string) string {
	lines := strings.Split(code, "\n")
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], "\t")
	}
	return strings.Join(lines, "\n")
}
