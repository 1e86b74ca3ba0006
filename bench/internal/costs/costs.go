// Package costs holds the file of measured costs that bench nodes writes and bench/scale reads.
package costs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// File is the content of the file.
type File struct {
	Note    string  `json:"note"`    // for readers of the file
	Machine Machine `json:"machine"` // of Runs and Store
	Runs    []Run   `json:"runs"`
	Store   []Store `json:"store"`
	Costs   []Cost  `json:"costs"`
}

// Machine says where and when the runs were measured.
type Machine struct {
	Date    string  `json:"date"`
	Command string  `json:"command"`
	Go      string  `json:"go"`
	Kernel  string  `json:"kernel"`
	CPU     string  `json:"cpu"`
	Others  float64 `json:"others_cores"` // the largest median CPU time of other processes over wall time of a run
}

// Run is a measurement of one publish to subscribers that are spread evenly over nodes. All nodes
// share one processor. Times are in ms.
type Run struct {
	Engine  string `json:"engine"` // topics, or nats
	Mode    string `json:"mode"`   // one of the modes below
	Nodes   int    `json:"nodes"`
	Members int    `json:"members"` // on all nodes together
	Rounds  int    `json:"rounds"`

	Last Spread `json:"last_ms"`          // from the publish until its delivery to the last member; the median of a round
	Ack  Spread `json:"ack_ms,omitzero"`  // until the publisher has the answer; zero for nats, which sends none
	P50  Spread `json:"p50_ms"`           // of the deliveries on other nodes than that of the publisher, with one node of all
	P99  Spread `json:"p99_ms"`           //
	CPU  Spread `json:"cpu_us_per_write"` // CPU time of all nodes over deliveries

	Kernel Spread `json:"kernel_bytes"` // growth of the kernel's slabs for each socket; only with many members
}

// Modes of runs.
const (
	Memory  = "memory"  // topics without a broker
	Core    = "core"    // topics over core NATS; with the engine nats, nats-server alone
	Ordered = "ordered" // topics with a stream
)

// Spread is the median and the range over the rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Store is how many messages a stream stores per second when many publishes wait for their answers.
type Store struct {
	Nodes     int    `json:"nodes"` // and replicas
	PerSecond Spread `json:"per_second"`
}

// Cost is a constant that was measured by other means.
type Cost struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Source string  `json:"source"`
}

// Read reads the file.
func Read(name string) (*File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var f File
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &f, nil
}

// Write replaces the file.
func (f *File) Write(name string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// Run returns the run with these properties, and whether there is one.
func (f *File) Run(engine, mode string, nodes, members int) (Run, bool) {
	i := slices.IndexFunc(f.Runs, func(r Run) bool {
		return r.Engine == engine && r.Mode == mode && r.Nodes == nodes && r.Members == members
	})
	if i < 0 {
		return Run{}, false
	}
	return f.Runs[i], true
}

// Cost returns the value of a constant, and whether there is one.
func (f *File) Cost(name string) (Cost, bool) {
	i := slices.IndexFunc(f.Costs, func(c Cost) bool { return c.Name == name })
	if i < 0 {
		return Cost{}, false
	}
	return f.Costs[i], true
}
