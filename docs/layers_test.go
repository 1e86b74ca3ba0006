package docs

import (
	"regexp"
	"strings"
	"testing"
)

// The table of layers lists all packages that users can import, and each package imports only
// packages of lower layers, or internal ones that the table does not list.
func TestLayers(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "architecture.md"), "\n| layer | packages |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	quoted := regexp.MustCompile("`([a-z/]+)`")
	layers := map[string]int{}
	for n, row := range strings.Split(table, "\n") {
		for _, m := range quoted.FindAllStringSubmatch(row, -1) {
			layers[m[1]] = n
		}
	}
	c := newCode(t)
	for dir := range layers {
		if _, ok := c.imports[dir]; !ok {
			t.Errorf("layers: got %s, want a package that exists", dir)
		}
	}
	for dir, imports := range c.imports {
		layer, listed := layers[dir]
		if !listed {
			if !strings.HasPrefix(dir, "internal/") && dir != "docs" {
				t.Errorf("layers: got no %s, want it in the table of architecture.md", dir)
			}
			continue
		}
		for _, i := range imports {
			if below, listed := layers[i]; listed && below <= layer {
				t.Errorf("layers: got an import of %s by %s, want only imports of lower layers", i, dir)
			}
		}
	}
}
