// Command scale simulates topics on many nodes. Its costs are those of one file, which bench nodes
// measures; its tables and plots are part of docs/scale.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"goranch/bench/internal/costs"
)

const usageHead = `scale simulates one topic with subscribers on many nodes: a publish is stored, sent to each node and
delivered to its subscribers. The costs are measured by "go run . nodes" in bench.

  go run ./scale                                 prints all tables
  go run ./scale --write                         rewrites the tables and plots of docs/scale.md
  go run ./scale --nodes 50 --members 500000     one cluster, with a server of NATS in each node
  go run ./scale --nodes 50 --members 500000 --servers 3 --rate 200
  make scale                                     measures, and rewrites costs, tables and plots (in the root)

`

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(args []string, out, usage io.Writer) error {
	fs := flag.NewFlagSet("scale", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.Usage = func() {
		fmt.Fprint(usage, usageHead+"Flags:\n")
		fs.PrintDefaults()
	}
	file := fs.String("costs", "scale/costs.json", "file of measured costs")
	docs := fs.String("docs", "../docs", "directory of scale.md and its plots")
	write := fs.Bool("write", false, "rewrite the tables in scale.md, and the plots")
	c := cluster{mode: costs.Ordered, messages: 1000}
	fs.IntVar(&c.nodes, "nodes", 0, "simulate only a cluster of this number of nodes, each on a machine of its own; 0 prints the tables")
	fs.IntVar(&c.members, "members", 10_000, "subscribers on all nodes together")
	fs.IntVar(&c.cores, "cores", exCores, "processors of a machine that deliver")
	fs.IntVar(&c.servers, "servers", 0, "servers of NATS outside the nodes; 0 is one in each node")
	fs.Float64Var(&c.rtt, "rtt", exRTT, "round trip between machines, in ms")
	perSecond := fs.Float64("rate", 0, "messages per second; 0 publishes each when the one before has arrived")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if c.rate = *perSecond / 1000; fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: see --help for the flags", fs.Arg(0))
	}
	f, err := costs.Read(*file)
	if err != nil {
		return err
	}
	m, err := newModel(f)
	if err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	switch {
	case c.nodes != 0:
		return one(m, c, out)
	case *write:
		return writeDocs(m, f, *docs)
	}
	for _, s := range sections(m, f) {
		fmt.Fprintf(out, "%s\n\n%s\n", s.name, s.text)
	}
	return nil
}

// one simulates one cluster.
func one(m *model, c cluster, out io.Writer) error {
	const maxNodes, maxMembers = 10_000, 1_000_000_000
	if c.nodes < 1 || c.nodes > maxNodes || c.members < c.nodes || c.members > maxMembers || c.cores < 1 || c.servers < 0 || c.servers > c.nodes {
		return fmt.Errorf("--nodes %d, --members %d, --cores %d, --servers %d: allowed are up to %d nodes, members from one per node to %d, positive cores, and no more servers than nodes",
			c.nodes, c.members, c.cores, c.servers, maxNodes, maxMembers)
	}
	limit, by := m.limits(c)
	if c.rate < 0 || c.rate >= limit || c.rtt < 0 {
		return fmt.Errorf("--rate %g, --rtt %g: allowed are 0 to %.0f messages per second, limited by %s, and no negative time", 1000*c.rate, c.rtt, 1000*limit, by)
	}
	c.messages = min(c.messages, 2_000_000/c.nodes)
	o := m.simulate(c)
	fmt.Fprintf(out, "until the last subscriber has a message: median %s ms, p99 %s ms; processors busy %.0f %%; at most %s messages/s, limited by %s\n",
		digits(o.last), digits(o.last99), 100*o.busy, digits(1000*limit), by)
	return nil
}

// section is a generated part of the page.
type section struct{ name, text string }

func sections(m *model, f *costs.File) []section {
	parts := []section{
		{"measured", measuredTable(f)}, {"costs", costsTable(f)}, {"model", modelTable(m, f)},
		{"extrapolation", extrapolationTable(m)}, {"capacity", capacityTable(m, f)},
	}
	for i := range parts {
		parts[i].text = roughNote(f) + parts[i].text
	}
	return parts
}

// plots returns the plots by their file names.
func plots(m *model, f *costs.File) map[string]string {
	return map[string]string{"scale-nodes.svg": nodesChart(m, f), "scale-rate.svg": rateChart(m)}
}

const pageName = "scale.md"

func writeDocs(m *model, f *costs.File, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, pageName))
	if err != nil {
		return err
	}
	page, err := replaceSections(string(text), sections(m, f))
	if err != nil {
		return err
	}
	files := plots(m, f)
	files[pageName] = page
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replaceSections replaces what is between the comments of each section.
func replaceSections(page string, parts []section) (string, error) {
	for _, s := range parts {
		begin, end := "<!-- begin "+s.name+": go run ./scale --write -->\n", "<!-- end "+s.name+" -->\n"
		before, rest, ok := strings.Cut(page, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			return "", fmt.Errorf("%s: no section between %q and %q", pageName, begin, end)
		}
		page = before + begin + "\n" + s.text + "\n" + end + after
	}
	return page, nil
}
