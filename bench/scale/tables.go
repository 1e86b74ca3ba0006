package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"goranch/bench/internal/costs"
	"goranch/internal/loadgen"
)

// validated are the measured runs that the model predicts from the others.
func validated(f *costs.File) []costs.Run {
	var runs []costs.Run
	for _, r := range f.Runs {
		if r.Engine == "topics" && r.Mode != costs.Memory && r.Members > 3 {
			runs = append(runs, r)
		}
	}
	return runs
}

// predict simulates a measured run.
func (m *model) predict(r costs.Run) outcome {
	return m.simulate(cluster{mode: r.Mode, nodes: r.Nodes, members: r.Members, cores: 1, shared: true, messages: 20})
}

// measuredTable is what bench nodes has measured.
func measuredTable(f *costs.File) string {
	many := manyMembers(f)
	one, _ := f.Run("topics", costs.Memory, 1, many)
	var b strings.Builder
	fmt.Fprintf(&b, "%s, Linux %s, %s, %s. Other processes used up to %.1f processors meanwhile.\n\n",
		f.Machine.CPU, f.Machine.Kernel, f.Machine.Go, strings.Split(f.Machine.Date, "T")[0], f.Machine.Others)
	fmt.Fprintf(&b, "| server | nodes | subscribers | last, ms | ratio | answer, ms | p50, ms | p99, ms | CPU µs per delivery |\n|---|---|---|---|---|---|---|---|---|\n")
	names := map[string]string{costs.Memory: "topics, no broker", costs.Core: "topics over core NATS", costs.Ordered: "topics with a stream"}
	for _, r := range f.Runs {
		name, ratio, answer := names[r.Mode], "", ""
		if r.Engine == "nats" {
			name = "nats-server"
		}
		if r.Members == many && one.Last.Median > 0 {
			ratio = fmt.Sprintf("%.2f", r.Last.Median/one.Last.Median)
		}
		if r.Ack.Median > 0 {
			answer = fmt.Sprintf("%.2f", r.Ack.Median)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s (%s to %s) | %s | %s | %s | %s | %.1f |\n", name, r.Nodes, thousands(r.Members),
			digits(r.Last.Median), digits(r.Last.Min), digits(r.Last.Max), ratio, answer, digits(r.P50.Median), digits(r.P99.Median), r.CPU.Median)
	}
	b.WriteString("\n| replicas of the stream | messages stored per second |\n|---|---|\n")
	for _, s := range f.Store {
		fmt.Fprintf(&b, "| %d | %s (%s to %s) |\n", s.Nodes, digits(s.PerSecond.Median), digits(s.PerSecond.Min), digits(s.PerSecond.Max))
	}
	return b.String()
}

// roughNote marks what was computed from a run on a machine that was not quiet.
func roughNote(f *costs.File) string {
	const quiet = 0.2 // processors that others may use
	if f.Machine.Others <= quiet {
		return ""
	}
	return "**Rough figures**: other processes were busy during the measurement. To be replaced by those of a quiet machine: `make scale`.\n\n"
}

// modelTable compares the model with what was measured.
func modelTable(m *model, f *costs.File) string {
	var b strings.Builder
	b.WriteString("| run | nodes | subscribers | last, measured, ms | last, model, ms | error | p50, measured, ms | p50, model, ms | error |\n|---|---|---|---|---|---|---|---|---|\n")
	worst := 0.0
	for _, r := range validated(f) {
		o := m.predict(r)
		e := o.last/r.Last.Median - 1
		worst = max(worst, math.Abs(e))
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %+.0f %% | %s | %s | %+.0f %% |\n", r.Mode, r.Nodes, thousands(r.Members),
			digits(r.Last.Median), digits(o.last), 100*e, digits(r.P50.Median), digits(o.mid), 100*(o.mid/r.P50.Median-1))
	}
	fmt.Fprintf(&b, "\nThe largest error of the time to the last is %.0f %%.\n", 100*worst)
	return b.String()
}

// The extrapolation.
const (
	exCores   = 8      // of a node's machine that deliver
	exMembers = 10_000 // subscribers of a node
	exRTT     = 0.2    // ms between machines
)

var exNodes = []int{1, 3, 10, 30, 100, 300, 1000}

// exCluster is a cluster of the extrapolation: up to ten nodes have a nats-server each; more have
// one for each hundred nodes, at least three.
func exCluster(nodes int) cluster {
	c := cluster{mode: costs.Ordered, nodes: nodes, members: nodes * exMembers, cores: exCores, rtt: exRTT, messages: 10}
	if nodes > 10 {
		c.servers = max(3, nodes/100)
	}
	return c
}

func extrapolationTable(m *model) string {
	var b strings.Builder
	b.WriteString("| nodes | subscribers | nats-servers | last, one message, ms | messages/s at most | limited by | last at half of that, median and p99, ms |\n|---|---|---|---|---|---|---|\n")
	for _, n := range exNodes {
		c := exCluster(n)
		rate, by := m.limits(c)
		idle := m.simulate(c)
		c.rate, c.messages = rate/2, 100
		half := m.simulate(c)
		servers := "in the nodes"
		if c.servers > 0 {
			servers = fmt.Sprint(c.servers)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s, %s |\n", thousands(n), thousands(c.members), servers,
			digits(idle.last), digits(rate*1000), by, digits(half.last), digits(half.last99))
	}
	return b.String()
}

func costsTable(f *costs.File) string {
	var b strings.Builder
	b.WriteString("| cost | value | source |\n|---|---|---|\n")
	for _, c := range f.Costs {
		fmt.Fprintf(&b, "| %s | %s %s | %s |\n", strings.ReplaceAll(c.Name, "_", " "), number(c.Value), c.Unit, source(c.Source))
	}
	m, err := newModel(f)
	if err == nil {
		many := float64(manyMembers(f))
		for _, r := range [][3]string{
			{"delivery, one write each", fmt.Sprintf("%.1f µs with %s subscribers of a processor, %.1f µs with %s", 1000*m.writes[0].y, thousands(int(m.writes[0].x)), 1000*m.writes[1].y, thousands(int(many))), "topics without a broker"},
			{"copy of nats-server", fmt.Sprintf("%.1f µs", 1000*m.copy), "nats-server on one node"},
			{"publish to the own node", digits(m.base) + " ms", "topics without a broker, one subscriber"},
			{"stream of 3 replicas", digits(m.stream[3]) + " ms in addition", "topics with a stream, 3 nodes with one subscriber each"},
			{"kernel memory of an idle socket", thousands(int(kernelBytes(f))) + " bytes", "growth of the slabs, many subscribers"},
		} {
			fmt.Fprintf(&b, "| %s | %s | `go run . nodes`: %s |\n", r[0], r[1], r[2])
		}
	}
	return b.String()
}

// source formats "page, what; command".
func source(s string) string {
	what, command, found := strings.Cut(s, "; ")
	for _, page := range []string{"benchmarks.md", "operations.md"} {
		what = strings.ReplaceAll(what, "docs/"+page, "["+page+"]("+page+")")
	}
	if found {
		what += "; `" + command + "`"
	}
	return what
}

// kernelBytes returns the kernel's memory of an idle socket: the median of the runs, because other
// processes change the slabs too.
func kernelBytes(f *costs.File) float64 {
	var all []float64
	for _, r := range f.Runs {
		if r.Kernel.Median > 0 {
			all = append(all, r.Kernel.Median)
		}
	}
	slices.Sort(all)
	return loadgen.Percentile(all, 0.5)
}

// digits formats a number with two or three significant digits.
func digits(v float64) string {
	switch {
	case math.IsInf(v, 0):
		return "–"
	case v >= 1000:
		p := math.Pow(10, math.Floor(math.Log10(v))-1)
		return thousands(int(math.Round(v/p) * p))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// number formats a constant as it is, with commas.
func number(v float64) string {
	if v == math.Trunc(v) {
		return thousands(int(v))
	}
	return fmt.Sprint(v)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
