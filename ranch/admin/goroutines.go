package admin

import (
	"bytes"
	"context"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"

	"goranch/protocol/shell"
)

func (a *admin) goroutineCommands() []shell.Command {
	return []shell.Command{
		{Name: "goroutines", Usage: "[--profile] [--limit N]", Role: shell.Viewer, Run: a.goroutines,
			Help: "Show the number of goroutines, or a profile of their stacks.\n\n" +
				"The profile inspects every goroutine. With a million goroutines it takes seconds.",
			Flags: []shell.Flag{
				{Name: "profile", Help: "List the most frequent stacks."},
				{Name: "limit", Value: "N", Help: "Show at most N stacks, up to 1000. Default: 10."},
			}},
	}
}

var stackColumns = []shell.Column{
	{Key: "count", Title: "COUNT", Right: true}, {Key: "location", Title: "LOCATION"}, {Key: "stack", Title: "STACK", Wide: true},
}

func (a *admin) goroutines(_ context.Context, c *shell.Call) error {
	limit, err := intFlag(c, "limit", 10, 1, maxRows)
	if err != nil {
		return err
	}
	if c.Flags["profile"] == "" {
		c.Return(shell.Fields{{Key: "goroutines", Title: "Goroutines", Value: runtime.NumGoroutine()}})
		return nil
	}
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err
	}
	t := shell.Table{Columns: stackColumns, Rows: [][]any{}}
	t.Rows, t.Total = stacks(b.String(), limit)
	c.Return(t)
	return nil
}

// runtimePackages are skipped in the search for the location of a stack.
var runtimePackages = []string{"runtime", "internal/poll", "sync", "time", "net"}

// stacks parses a goroutine profile in the text format of package pprof, which is sorted by count,
// and returns the first limit stacks and their total number.
func stacks(profile string, limit int) (rows [][]any, total int) {
	for block := range strings.SplitSeq(profile, "\n\n") {
		n, functions, location := 0, []string(nil), ""
		for line := range strings.SplitSeq(block, "\n") {
			if first, _, ok := strings.Cut(line, " @ "); ok && !strings.HasPrefix(line, "#") {
				n, _ = strconv.Atoi(first)
			}
			if f := strings.Fields(line); len(f) >= 4 && f[0] == "#" && strings.HasPrefix(f[1], "0x") {
				name, _, _ := strings.Cut(f[2], "+0x")
				functions = append(functions, name)
				if pkg, _, _ := strings.Cut(name, "."); location == "" && !slices.Contains(runtimePackages, pkg) {
					location = name + " " + filepath.Base(f[3])
				}
			}
		}
		if n == 0 || len(functions) == 0 {
			continue
		}
		if location == "" {
			location = functions[0]
		}
		if total++; total <= limit {
			rows = append(rows, []any{n, location, strings.Join(functions, " < ")})
		}
	}
	return rows, total
}
