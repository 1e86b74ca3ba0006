package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"goranch/bench/internal/costs"
)

// One publish reaches the members of all nodes, with nats-server alone and with topics.
func TestNodes(t *testing.T) {
	t.Parallel()
	o := nodesOptions{publishes: 1, storeFor: 20 * time.Millisecond, rig: rig{serverCPU: unpinned, loadCPU: unpinned}}
	works := []spreadWork{{"nats", costs.Core, 2, []int{4}}, {"topics", costs.Ordered, 1, []int{3}}}
	results := make([][][]spreadResult, len(works))
	rates := map[int][]float64{}
	for i, w := range works {
		res, rate, err := o.run(t.Context(), w)
		if err != nil {
			t.Fatalf("%+v: got %v, want no error", w, err)
		}
		if results[i] = [][]spreadResult{res}; rate > 0 {
			rates[w.nodes] = []float64{rate}
		}
		if len(res[0].LastNs) != 5 || (w.engine == "topics") != (len(res[0].AckNs) == 5) {
			t.Errorf("%+v: got %+v, want 5 publishes, and answers from topics", w, res[0])
		}
	}
	f := o.summarize(works, results, rates)
	var table bytes.Buffer
	if err := printNodes(&table, f); err != nil {
		t.Fatal(err)
	}
	r, ok := f.Run("topics", costs.Ordered, 1, 3)
	if !ok || r.Last.Median <= 0 || r.P99.Median < r.P50.Median || len(f.Store) != 1 || f.Store[0].PerSecond.Median <= 0 ||
		!strings.Contains(table.String(), "ordered") {
		t.Errorf("got %+v and the table\n%s\nwant times, and a rate of one replica", f, table.String())
	}
}

func TestParseNodes(t *testing.T) {
	for args, want := range map[string]string{
		"--members 2":   "--members 2: allowed are",
		"--rounds 0":    "--rounds 0",
		"--publishes 0": "--publishes 0",
		"extra":         `unexpected argument "extra"`,
		"--only other":  `--only "other": allowed are`,

		"--only core --write f": "leave out --only",
	} {
		var out bytes.Buffer
		if _, err := parseNodes(strings.Fields(args), &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", args, err, want)
		}
	}
}
