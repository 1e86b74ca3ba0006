package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"goranch/bench/internal/costs"
	"goranch/internal/loadgen"
)

// nodesOptions is the command line of bench nodes.
type nodesOptions struct {
	members   int
	rounds    int
	publishes int
	storeFor  time.Duration // how long the rate of a stream is measured
	file      string
	only      string
	rig       rig
}

const nodesHead = `bench nodes measures one publish to subscribers that are spread over one, two and three nodes: until the
last of them has it, until the publisher has its answer, and how late the deliveries on other nodes are.
A node is a process with a topic server and an embedded nats-server, or a nats-server alone. All nodes
share one processor; the generator has another one. 2 rounds take about 4 minutes.

  go run . nodes                              prints the table
  go run . nodes --write scale/costs.json     and replaces the runs in the file that bench/scale reads
  go run . nodes --members 1500 --rounds 1    a short run

`

func parseNodes(args []string, out io.Writer) (nodesOptions, error) {
	o := nodesOptions{storeFor: 2 * time.Second}
	fs := flag.NewFlagSet("bench nodes", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprint(out, nodesHead+"Flags:\n")
		fs.PrintDefaults()
	}
	fs.IntVar(&o.members, "members", 15_000, "subscribers on all nodes together")
	fs.IntVar(&o.rounds, "rounds", 2, "number of rounds; each measures everything once")
	fs.IntVar(&o.publishes, "publishes", 20, "measured publishes of a run")
	fs.StringVar(&o.only, "only", "", "measure only the engines and modes with this text: topics, nats, memory, core or ordered")
	fs.StringVar(&o.file, "write", "", "file of costs whose runs are replaced; it must exist")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: see --help for the flags", fs.Arg(0))
	}
	if o.file != "" && o.only != "" {
		return o, errors.New("--write replaces all runs: leave out --only")
	}
	if len(o.works()) == 0 {
		return o, fmt.Errorf("--only %q: allowed are parts of memory, core, ordered, topics and nats", o.only)
	}
	if o.rounds < 1 || o.rounds > 20 || o.publishes < 1 || o.publishes > 1000 {
		return o, fmt.Errorf("--rounds %d, --publishes %d: allowed are 1 to 20, and 1 to 1000", o.rounds, o.publishes)
	}
	if limit := loadgen.MaxOpenFiles() - 100; o.members < 6 || o.members > limit {
		return o, fmt.Errorf("--members %d: allowed are 6 to %d, because of the limit of open files (ulimit -Hn)", o.members, limit)
	}
	shared := options{serverCPU: unpinned, loadCPU: unpinned}
	var err error
	o.rig, err = shared.rig(out)
	return o, err
}

// spreadWork is what one set of node processes measures, one number of members after the other.
type spreadWork struct {
	engine, mode string
	nodes        int
	members      []int
}

// works returns what a round measures: many members, and few members or modes from which the model
// gets its costs.
func (o nodesOptions) works() (works []spreadWork) {
	for _, w := range []spreadWork{
		{"nats", costs.Core, 1, []int{1, o.members}},
		{"nats", costs.Core, 3, []int{3, o.members}},
		{"topics", costs.Memory, 1, []int{1, o.members / 3, o.members}},
		{"topics", costs.Ordered, 1, []int{1, o.members}},
		{"topics", costs.Ordered, 2, []int{2, o.members}},
		{"topics", costs.Ordered, 3, []int{3, o.members / 3, o.members}},
		{"topics", costs.Core, 2, []int{2}},
		{"topics", costs.Core, 3, []int{3, o.members}},
	} {
		if strings.Contains(w.engine+" "+w.mode, o.only) {
			works = append(works, w)
		}
	}
	return works
}

// nodesMain measures, prints the table and writes the file.
func nodesMain(args []string) error {
	o, err := parseNodes(args, os.Stderr)
	if err != nil {
		return err
	}
	var file *costs.File
	if o.file != "" {
		if file, err = costs.Read(o.file); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	measured, err := o.measure(ctx, os.Stderr)
	if err != nil {
		return err
	}
	measured.Machine.Command = strings.Join(append([]string{"bench", "nodes"}, args...), " ")
	if err := printNodes(os.Stdout, measured); err != nil {
		return err
	}
	if file == nil {
		return nil
	}
	file.Machine, file.Runs, file.Store = measured.Machine, measured.Runs, measured.Store
	return file.Write(o.file)
}

// measure runs all rounds. Rounds are interleaved, so that a change of the machine's load affects
// all.
func (o nodesOptions) measure(ctx context.Context, progress io.Writer) (*costs.File, error) {
	works := o.works()
	results := make([][][]spreadResult, len(works)) // by work and number of members
	rates := map[int][]float64{}
	for round := range o.rounds {
		for i, w := range works {
			begin := time.Now()
			res, rate, err := o.run(ctx, w)
			if err != nil {
				return nil, fmt.Errorf("%+v: %w", w, err)
			}
			if results[i] == nil {
				results[i] = make([][]spreadResult, len(w.members))
			}
			for k, n := range w.members {
				results[i][k] = append(results[i][k], res[k])
				fmt.Fprintf(progress, "round %d %s %s, %d nodes, %d members: %.2f ms\n", round+1, w.engine, w.mode, w.nodes, n, medianMs(res[k].LastNs))
			}
			if rate > 0 {
				rates[w.nodes] = append(rates[w.nodes], rate)
			}
			fmt.Fprintf(progress, "  %.1f s\n", time.Since(begin).Seconds())
		}
	}
	return o.summarize(works, results, rates), nil
}

func (o nodesOptions) summarize(works []spreadWork, results [][][]spreadResult, rates map[int][]float64) *costs.File {
	f := &costs.File{Machine: costs.Machine{
		Date: time.Now().UTC().Format(time.RFC3339), Go: runtime.Version(), Kernel: kernelVersion(), CPU: cpuModel(),
	}}
	for i, w := range works {
		for k, n := range w.members {
			run, others := summarizeSpread(w, n, results[i][k])
			f.Runs = append(f.Runs, run)
			f.Machine.Others = max(f.Machine.Others, others)
		}
	}
	for nodes := 1; nodes <= 3; nodes++ {
		if len(rates[nodes]) > 0 {
			f.Store = append(f.Store, costs.Store{Nodes: nodes, PerSecond: costs.Spread(spreadOf(rates[nodes]))})
		}
	}
	return f
}

func medianMs(ns []int64) float64 {
	return float64(loadgen.Percentile(slices.Sorted(slices.Values(ns)), 0.5)) / 1e6
}

func summarizeSpread(w spreadWork, members int, results []spreadResult) (run costs.Run, others float64) {
	over := func(field func(spreadResult) float64) costs.Spread {
		values := make([]float64, len(results))
		for i, r := range results {
			values[i] = field(r)
		}
		return costs.Spread(spreadOf(values))
	}
	kernel := over(func(r spreadResult) float64 { return r.KernelBytes })
	if members < few {
		kernel = costs.Spread{}
	}
	return costs.Run{
		Kernel: kernel, Engine: w.engine, Mode: w.mode, Nodes: w.nodes, Members: members, Rounds: len(results),
		Last: over(func(r spreadResult) float64 { return medianMs(r.LastNs) }),
		Ack:  over(func(r spreadResult) float64 { return medianMs(r.AckNs) }),
		P50:  over(func(r spreadResult) float64 { return float64(r.P50Ns) / 1e6 }),
		P99:  over(func(r spreadResult) float64 { return float64(r.P99Ns) / 1e6 }),
		CPU:  over(func(r spreadResult) float64 { return float64(r.CPUNs) / 1e3 / float64(len(r.LastNs)*members) }),
	}, over(func(r spreadResult) float64 { return float64(r.OthersCPUNs) / float64(r.WallNs) }).Median
}

// run starts the nodes, and a generator for each number of members. With a stream it also measures
// how many messages are stored per second.
func (o nodesOptions) run(ctx context.Context, w spreadWork) (results []spreadResult, rate float64, err error) {
	dir, err := os.MkdirTemp("", "bench-nodes-")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	nodes, addrs, pids, err := o.startNodes(ctx, w, dir)
	for _, n := range nodes {
		defer n.stop()
	}
	if err != nil {
		return nil, 0, err
	}
	for _, members := range w.members {
		res, err := o.load(ctx, w, members, addrs, pids)
		if err != nil {
			return nil, 0, err
		}
		results = append(results, res)
	}
	if w.mode == costs.Ordered {
		err = nodes[0].ask(ctx, o.storeFor.String(), &rate)
	}
	return results, rate, err
}

// few is the number of members below which a run has five times as many publishes.
const few = 100

func (o nodesOptions) load(ctx context.Context, w spreadWork, members int, addrs, pids []string) (res spreadResult, err error) {
	engine, publishes := "nats", o.publishes
	if w.engine == "topics" {
		engine = "goranch-topics"
	}
	if members < few {
		publishes *= 5
	}
	load, err := startChild("", o.rig.loadCPU, 2, "spread", "--engine", engine, "--addrs", strings.Join(addrs, ","), "--pids", strings.Join(pids, ","),
		"--members", strconv.Itoa(members), "--publishes", strconv.Itoa(publishes))
	if err != nil {
		return res, err
	}
	defer load.stop()
	return res, load.receive(ctx, 5*time.Minute, &res)
}

// startNodes returns the nodes also with an error; they must be stopped.
func (o nodesOptions) startNodes(ctx context.Context, w spreadWork, dir string) (nodes []*child, addrs, pids []string, err error) {
	ports, err := freePorts(w.nodes)
	if err != nil {
		return nil, nil, nil, err
	}
	for i := range w.nodes {
		n, err := startChild("", o.rig.serverCPU, 1, "node", "--engine", w.engine, "--mode", w.mode, "--index", strconv.Itoa(i),
			"--ports", strings.Join(ports, ","), "--store", fmt.Sprint(dir, "/", i))
		if err != nil {
			return nodes, nil, nil, err
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		var ready serverReady
		if err := n.receive(ctx, 2*nodeWait, &ready); err != nil {
			return nodes, nil, nil, err
		}
		addrs, pids = append(addrs, ready.Addr), append(pids, strconv.Itoa(ready.PID))
	}
	return nodes, addrs, pids, nil
}

// freePorts returns TCP ports that were free a moment ago.
func freePorts(n int) (ports []string, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}

func printNodes(out io.Writer, f *costs.File) error {
	fmt.Fprintln(out, "one publish to members on several nodes that share a processor; ms")
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "engine\tmode\tnodes\tmembers\tlast\tmin–max\tanswer\tp50\tp99\tCPU µs/delivery\t")
	for _, r := range f.Runs {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%.2f\t%.2f–%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", r.Engine, r.Mode, r.Nodes, r.Members,
			r.Last.Median, r.Last.Min, r.Last.Max, r.Ack.Median, r.P50.Median, r.P99.Median, r.CPU.Median)
	}
	err := tw.Flush()
	for _, s := range f.Store {
		fmt.Fprintf(out, "stored by %d replicas: %.0f messages/s\n", s.Nodes, s.PerSecond.Median)
	}
	if f.Machine.Others > 0.1 {
		fmt.Fprintf(out, "note: other processes used up to %.1f cores\n", f.Machine.Others)
	}
	return err
}
