package main

import (
	"errors"
	"fmt"
	"math"

	"goranch/bench/internal/costs"
)

// model holds the costs of the simulation. Times are in ms.
type model struct {
	base   float64    // from a publish to its delivery on the same node, without a broker
	stream [4]float64 // what a stream of 1, 2 or 3 replicas on as many nodes adds until the last node has it
	core   [4]float64 // what core NATS adds, with 2 or 3 nodes
	writes [2]point   // a delivery, by the number of deliveries that one processor makes
	batch  float64    // a further message in the same write
	copy   float64    // a copy from a nats-server to a node, or to another server
	stored [4]float64 // messages per ms that a stream of 1, 2 or 3 replicas stores
}

type point struct{ x, y float64 }

// newModel derives the costs from runs with few members, runs without a broker, and nats-server
// alone. No run of a stream with many members is among them: these are what the model is compared
// with.
func newModel(f *costs.File) (*model, error) {
	many := manyMembers(f)
	var errs []error
	find := func(engine, mode string, nodes, members int) costs.Run {
		r, ok := f.Run(engine, mode, nodes, members)
		if !ok {
			errs = append(errs, fmt.Errorf("no run of %s, %s, with %d nodes and %d members", engine, mode, nodes, members))
		}
		return r
	}
	last := func(engine, mode string, nodes, members int) float64 {
		return find(engine, mode, nodes, members).Last.Median
	}
	// A delivery costs CPU time, which other processes of the machine increase less than the time
	// that passes.
	cpu := func(engine, mode string, members int) float64 {
		return find(engine, mode, 1, members).CPU.Median / 1000
	}
	m := &model{base: last("topics", costs.Memory, 1, 1)}
	for nodes := 1; nodes <= 3; nodes++ {
		m.stream[nodes] = max(0, last("topics", costs.Ordered, nodes, nodes)-m.base)
		if nodes > 1 {
			m.core[nodes] = max(0, last("topics", costs.Core, nodes, nodes)-m.base)
		}
	}
	for i, members := range []int{many / 3, many} {
		m.writes[i] = point{float64(members), cpu("topics", costs.Memory, members)}
	}
	m.copy = cpu("nats", costs.Core, many)
	for _, s := range f.Store {
		if s.Nodes < len(m.stored) {
			m.stored[s.Nodes] = s.PerSecond.Median / 1000
		}
	}
	for nodes := 1; nodes <= 3; nodes++ {
		if m.stored[nodes] <= 0 {
			errs = append(errs, fmt.Errorf("no rate of a stream of %d replicas", nodes))
		}
	}
	batch, ok := f.Cost("batched_delivery")
	if !ok {
		errs = append(errs, errors.New("no cost batched_delivery"))
	}
	m.batch = batch.Value / 1000
	return m, errors.Join(errs...)
}

// manyMembers returns the largest number of members of a run.
func manyMembers(f *costs.File) (n int) {
	for _, r := range f.Runs {
		n = max(n, r.Members)
	}
	return n
}

// write returns the cost of a delivery when a processor makes n of one message. It grows with n
// because sockets leave the caches; it is interpolated by the logarithm of n, and constant outside.
func (m *model) write(n float64) float64 {
	a, b := m.writes[0], m.writes[1]
	t := (math.Log(max(n, 1)) - math.Log(a.x)) / (math.Log(b.x) - math.Log(a.x))
	return a.y + min(max(t, 0), 1)*(b.y-a.y)
}

// path returns what the way between nodes adds, until the last of up to three nodes has the
// message.
func (m *model) path(c cluster) float64 {
	n := min(c.nodes, 3)
	switch c.mode {
	case costs.Ordered:
		return m.stream[n]
	case costs.Core:
		return m.core[n]
	}
	return 0
}

// rate returns how many messages per ms can be stored.
func (m *model) rate(c cluster) float64 {
	if c.mode != costs.Ordered {
		return math.Inf(1)
	}
	return m.stored[min(c.nodes, 3)]
}
