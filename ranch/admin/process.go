package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/internal/descriptors"
	"goranch/protocol/shell"
)

func (a *admin) processCommands() []shell.Command {
	return []shell.Command{
		{Name: "memory", Role: shell.Viewer, Help: "Show what memory the process has, and what for.", Run: a.memory},
		{Name: "goroutines", Usage: "[--profile] [--limit N]", Role: shell.Viewer,
			Help: "Show how many goroutines there are, or where they are.\n\nA profile looks at each of them, which takes a while when there are a million.",
			Flags: []shell.Flag{{Name: "profile", Help: "Show which stacks have the most."},
				{Name: "limit", Value: "N", Help: "Show N stacks; 10 if not given, up to 1000."}}, Run: a.goroutines},
		{Name: "gc", Role: shell.Operator, Changes: true,
			Help: "Collect garbage, and give free memory back to the system.\n\nIt takes the processors' time, and is seldom needed: it shows what is really in use after many connections have gone.", Run: a.gc},
		{Name: "descriptors", Usage: "[--kinds]", Role: shell.Viewer, Help: "Show how many descriptors the process has open, and how many it may.",
			Flags: []shell.Flag{{Name: "kinds", Help: "Show what they are, which looks at each; Linux only."}}, Run: a.descriptors},
	}
}

// readMetric reads a number of package runtime/metrics; 0 if there is none of that name.
func readMetric(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

// memoryFields are what the command memory shows, by the names of runtime/metrics.
var memoryFields = []struct {
	key, title, metric string
	bytes              bool
}{
	{"total", "Mapped in all", "/memory/classes/total:bytes", true},
	{"objects", "Heap: objects", "/memory/classes/heap/objects:bytes", true},
	{"unused", "Heap: unused parts", "/memory/classes/heap/unused:bytes", true},
	{"free", "Heap: free", "/memory/classes/heap/free:bytes", true},
	{"released", "Heap: given back", "/memory/classes/heap/released:bytes", true},
	{"stacks", "Stacks", "/memory/classes/heap/stacks:bytes", true},
	{"live", "Heap: live at the last collection", "/gc/heap/live:bytes", true},
	{"goal", "Heap: next collection at", "/gc/heap/goal:bytes", true},
	{"object_count", "Objects", "/gc/heap/objects:objects", false},
	{"collections", "Collections", "/gc/cycles/total:gc-cycles", false},
	{"goroutines", "Goroutines", "/sched/goroutines:goroutines", false},
}

func (a *admin) memory(_ context.Context, c *shell.Call) error {
	f := shell.Fields{}
	for _, m := range memoryFields {
		var v any = readMetric(m.metric)
		if m.bytes {
			v = shell.Bytes(v.(uint64))
		}
		f = append(f, shell.Field{Key: m.key, Title: m.title, Value: v})
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		f = append(f, shell.Field{Key: "limit", Title: "Limit of memory", Value: shell.Bytes(limit)})
	}
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 3)}
	debug.ReadGCStats(&stats)
	if stats.NumGC == 0 {
		stats.LastGC = time.Time{}
	}
	f = append(f, shell.Field{Key: "last_collection", Title: "Last collection", Value: stats.LastGC.Truncate(time.Millisecond)},
		shell.Field{Key: "pause_median", Title: "Pauses: median", Value: stats.PauseQuantiles[1]},
		shell.Field{Key: "pause_max", Title: "Pauses: longest", Value: stats.PauseQuantiles[2]})
	c.Return(f)
	return nil
}

func (a *admin) gc(_ context.Context, c *shell.Call) error {
	used := func() shell.Bytes {
		return shell.Bytes(readMetric("/memory/classes/total:bytes") - readMetric("/memory/classes/heap/released:bytes"))
	}
	before, began := used(), time.Now()
	debug.FreeOSMemory()
	c.Return(shell.Fields{{Key: "before", Title: "Memory before", Value: before}, {Key: "after", Title: "Memory now", Value: used()},
		{Key: "duration", Title: "Took", Value: time.Since(began)}})
	return nil
}

func (a *admin) goroutines(_ context.Context, c *shell.Call) error {
	limit, err := whole(c, "limit", 10, 1, maxRows)
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
	t := shell.Table{Columns: []shell.Column{{Key: "count", Title: "COUNT", Right: true}, {Key: "at", Title: "AT"}, {Key: "stack", Title: "STACK", Wide: true}}, Rows: [][]any{}}
	t.Rows, t.Total = stacks(b.String(), limit)
	c.Return(t)
	return nil
}

// stacks reads the profile of goroutines as package pprof writes it for people, the most frequent first.
func stacks(profile string, limit int) (rows [][]any, total int) {
	for block := range strings.SplitSeq(profile, "\n\n") {
		n, functions, at := 0, []string(nil), ""
		for line := range strings.SplitSeq(block, "\n") {
			if first, _, ok := strings.Cut(line, " @ "); ok && !strings.HasPrefix(line, "#") {
				n, _ = strconv.Atoi(first)
			}
			if f := strings.Fields(line); len(f) >= 4 && f[0] == "#" && strings.HasPrefix(f[1], "0x") {
				name, _, _ := strings.Cut(f[2], "+0x")
				functions = append(functions, name)
				if pkg, _, _ := strings.Cut(name, "."); at == "" && !slices.Contains([]string{"runtime", "internal/poll", "sync", "time", "net"}, pkg) {
					at = name + " " + filepath.Base(f[3])
				}
			}
		}
		if n == 0 || len(functions) == 0 {
			continue
		}
		if at == "" {
			at = functions[0]
		}
		if total++; total <= limit {
			rows = append(rows, []any{n, at, strings.Join(functions, " < ")})
		}
	}
	return rows, total
}

func (a *admin) descriptors(_ context.Context, c *shell.Call) error {
	open, limit, err := descriptors.Count()
	if err != nil {
		return err
	}
	f := shell.Fields{
		{Key: "open", Title: "Open", Value: open}, {Key: "limit", Title: "Allowed", Value: limit},
		{Key: "share", Title: "Share", Value: math.Round(float64(open)/float64(limit)*1e4) / 1e4},
	}
	if c.Flags["kinds"] != "" {
		kinds, err := descriptorKinds()
		if err != nil {
			return err
		}
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			f = append(f, shell.Field{Key: kind, Title: "  " + kind, Value: kinds[kind]})
		}
	}
	c.Return(f)
	return nil
}

// descriptorKinds counts descriptors by what they are.
func descriptorKinds() (map[string]int, error) {
	const dir = "/proc/self/fd"
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("kinds of descriptors: %w", errors.ErrUnsupported)
	}
	kinds := map[string]int{}
	for _, n := range names {
		to, err := os.Readlink(filepath.Join(dir, n.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		kind, _, ok := strings.Cut(to, ":[")
		switch {
		case ok: // socket:[123], pipe:[123]
		case strings.HasPrefix(to, "anon_inode:"):
			kind = strings.Trim(strings.TrimPrefix(to, "anon_inode:"), "[]")
		default:
			kind = "file"
		}
		kinds[kind]++
	}
	return kinds, nil
}

func (a *admin) alarms(_ context.Context, c *shell.Call) error {
	t := shell.Table{Columns: []shell.Column{
		{Key: "listener", Title: "LISTENER"}, {Key: "alarm", Title: "ALARM"}, {Key: "of", Title: "OF"}, {Key: "threshold", Title: "FROM", Right: true},
		{Key: "now", Title: "NOW", Right: true}, {Key: "reached", Title: "REACHED"}, {Key: "cooldown", Title: "AGAIN AFTER", Right: true, Kind: shell.KindDuration},
	}}
	open, limit, err := descriptors.Count()
	for _, l := range a.listeners() {
		alarms := l.Options().Alarms
		for _, name := range slices.Sorted(maps.Keys(alarms)) {
			al := alarms[name]
			of, threshold, now := "connections", al.Connections, l.Info().ActiveConnections
			if al.Descriptors > 0 {
				of, threshold, now = "descriptors", int(math.Ceil(al.Descriptors*float64(limit))), open
				if err != nil {
					continue
				}
			}
			cooldown := al.Cooldown
			if cooldown == 0 {
				cooldown = 5 * time.Second
			}
			t.Rows = append(t.Rows, []any{l.Ref(), name, of, threshold, now, now >= threshold, cooldown})
		}
	}
	c.Return(t)
	return nil
}
