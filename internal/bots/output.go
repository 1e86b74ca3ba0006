package bots

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func (r *result) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *result) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d clients at %s, topic %s, %s\n", r.Clients, r.Server, r.Topic, plural(r.Processes, "process", "processes"))
	fmt.Fprintf(&b, "setup  %s\nrun    %s\ngood   %d\nbad    %d%s\n", seconds(r.SetupMS), seconds(r.RunMS), r.Good, r.Bad, reasonLines(r.Reasons))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nms\tmin\tp50\tp99\tmax\t\n")
	fmt.Fprintf(t, "latency\t%s\n", r.Latency.row())
	fmt.Fprintf(t, "wait\t%s\n", r.Wait.row())
	t.Flush()
	r.Coarse.write(&b, "latency in steps of 500 ms")
	r.Fine.write(&b, "latency")
	if r.Messages > 1 {
		r.writeBroadcasts(&b)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\nnote: %s", note)
	}
	if len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeBroadcasts writes a table with a row for each message.
func (r *result) writeBroadcasts(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nmessage\tgood\tbad\tmin\tp50\tp99\tmax ms of wait\t\n")
	for _, x := range r.Broadcasts {
		fmt.Fprintf(t, "%d\t%d\t%d\t%s\n", x.Number, x.Good, x.Bad, x.Wait.row())
	}
	t.Flush()
}

// row returns the cells of a table row, in milliseconds.
func (q *quantiles) row() string {
	if q == nil {
		return "-\t-\t-\t-\t"
	}
	var b strings.Builder
	for _, us := range []int64{q.Min, q.P50, q.P99, q.Max} {
		fmt.Fprintf(&b, "%.2f\t", float64(us)/1000)
	}
	return b.String()
}

const barWidth = 40

func (all buckets) write(b *strings.Builder, title string) {
	if len(all) == 0 {
		return
	}
	var most int64
	for _, x := range all {
		most = max(most, x.Count)
	}
	fmt.Fprintf(b, "\n%s\n", title)
	t := tabwriter.NewWriter(b, 0, 0, 1, ' ', tabwriter.AlignRight)
	for _, x := range all {
		bar := strings.Repeat("#", int((x.Count*barWidth+most-1)/most))
		fmt.Fprintf(t, "%v\t..\t%v\t%d\t %s\n", micro(x.FromUS), micro(x.ToUS), x.Count, bar)
	}
	t.Flush()
}

func micro(us int64) string { return (time.Duration(us) * time.Microsecond).String() }

// reasonLines returns a line for each reason, the most frequent first.
func reasonLines(reasons map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		if reasons[a] != reasons[b] {
			return reasons[b] - reasons[a]
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "\n  %7d  %s", reasons[k], k)
	}
	return b.String()
}

func seconds(ms float64) string { return fmt.Sprintf("%.3f s", ms/1000) }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
