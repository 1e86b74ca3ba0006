package admin

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"goranch/protocol/shell"
)

func (a *admin) memoryCommands() []shell.Command {
	return []shell.Command{
		{Name: "memory", Role: shell.Viewer, Help: "Show the memory of the process and the state of the garbage collector.", Run: a.memory},
		{Name: "gc", Role: shell.Operator, Changes: true, Run: a.gc,
			Help: "Run a garbage collection and return free memory to the system.\n\n" +
				"It takes CPU time and is rarely needed, for example to see the memory in use after many\n" +
				"connections have ended."},
	}
}

// readMetric returns a metric of package runtime/metrics, or 0 if this Go version has none of that
// name.
func readMetric(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

// residentMemory returns the memory that is mapped and not released to the system.
func residentMemory() shell.Bytes {
	return shell.Bytes(readMetric("/memory/classes/total:bytes") - readMetric("/memory/classes/heap/released:bytes"))
}

// memoryFields are the metrics that the command memory shows.
var memoryFields = []struct {
	key, title, metric string
	isBytes            bool
}{
	{"total", "Mapped", "/memory/classes/total:bytes", true},
	{"objects", "Heap: objects", "/memory/classes/heap/objects:bytes", true},
	{"unused", "Heap: unused", "/memory/classes/heap/unused:bytes", true},
	{"free", "Heap: free", "/memory/classes/heap/free:bytes", true},
	{"released", "Heap: released", "/memory/classes/heap/released:bytes", true},
	{"stacks", "Stacks", "/memory/classes/heap/stacks:bytes", true},
	{"live", "Heap: live at the last GC", "/gc/heap/live:bytes", true},
	{"goal", "Heap: size of the next GC", "/gc/heap/goal:bytes", true},
	{"object_count", "Heap: number of objects", "/gc/heap/objects:objects", false},
	{"collections", "GC cycles", "/gc/cycles/total:gc-cycles", false},
	{"goroutines", "Goroutines", "/sched/goroutines:goroutines", false},
}

func (a *admin) memory(_ context.Context, c *shell.Call) error {
	f := shell.Fields{}
	for _, m := range memoryFields {
		var v any = readMetric(m.metric)
		if m.isBytes {
			v = shell.Bytes(v.(uint64))
		}
		f = append(f, shell.Field{Key: m.key, Title: m.title, Value: v})
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		f = append(f, shell.Field{Key: "limit", Title: "Memory limit", Value: shell.Bytes(limit)})
	}
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 3)}
	debug.ReadGCStats(&stats)
	if stats.NumGC == 0 {
		stats.LastGC = time.Time{}
	}
	f = append(f, shell.Field{Key: "last_collection", Title: "Last GC", Value: stats.LastGC.Truncate(time.Millisecond)},
		shell.Field{Key: "pause_median", Title: "GC pause: median", Value: stats.PauseQuantiles[1]},
		shell.Field{Key: "pause_max", Title: "GC pause: maximum", Value: stats.PauseQuantiles[2]})
	c.Return(f)
	return nil
}

func (a *admin) gc(_ context.Context, c *shell.Call) error {
	before, start := residentMemory(), time.Now()
	debug.FreeOSMemory()
	c.Return(shell.Fields{
		{Key: "before", Title: "Memory before", Value: before},
		{Key: "after", Title: "Memory after", Value: residentMemory()},
		{Key: "duration", Title: "Duration", Value: time.Since(start)},
	})
	return nil
}
