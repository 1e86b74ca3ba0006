package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goranch/bench/internal/costs"
)

func loadModel(t *testing.T) (*model, *costs.File) {
	t.Helper()
	f, err := costs.Read("costs.json")
	if err != nil {
		t.Fatal(err)
	}
	m, err := newModel(f)
	if err != nil {
		t.Fatal(err)
	}
	return m, f
}

// The tables and plots in docs are those of the model and the file of costs.
func TestPageIsInStep(t *testing.T) {
	m, f := loadModel(t)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	page := read(pageName)
	want, err := replaceSections(page, sections(m, f))
	if err != nil {
		t.Fatal(err)
	}
	wanted := plots(m, f)
	wanted[pageName] = want
	for name, want := range wanted {
		if got := read(name); got != want {
			t.Errorf("docs/%s: got other tables or another plot than the model's, want the same: run \"cd bench && go run ./scale --write\"", name)
		}
	}
}

// testModel has costs with which times are easily computed.
func testModel() *model {
	return &model{
		base: 1, stream: [4]float64{0, 2, 3, 4}, core: [4]float64{0, 0, 1, 1}, writes: [2]point{{10, 0.01}, {1000, 0.01}},
		batch: 0.001, copy: 0.5, stored: [4]float64{0, 10, 10, 10},
	}
}

func TestSimulate(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    cluster
		last float64 // ms
		mid  float64
	}{
		{"one node, memory", cluster{mode: costs.Memory, nodes: 1, members: 1000, cores: 1}, 1 + 999*0.01, 1 + 499*0.01},
		{"two processors", cluster{mode: costs.Memory, nodes: 1, members: 1000, cores: 2}, 1 + 499*0.01, 1 + 249*0.01},
		{"a stream", cluster{mode: costs.Ordered, nodes: 1, members: 1000, cores: 1}, 0.1 + 3 + 9.99, 0.1 + 3 + 4.99},
		{"three nodes on one processor", cluster{mode: costs.Ordered, nodes: 3, members: 3000, cores: 1, shared: true}, 0.1 + 5 + 29.99, 0.1 + 5 + 14.99},
		{"three machines", cluster{mode: costs.Ordered, nodes: 3, members: 3000, cores: 1, rtt: 0.5}, 0.1 + 5 + 1 + 9.99, 0.1 + 5 + 1 + 4.99},
		{"seven machines: four more copies", cluster{mode: costs.Core, nodes: 7, members: 700, cores: 1}, 2 + 4*0.5 + 0.99, 0},
		{"a server with two nodes", cluster{mode: costs.Core, nodes: 2, members: 200, cores: 1, servers: 1}, 2 + 2*0.5 + 0.99, 3.49},
		{"two servers with two nodes each", cluster{mode: costs.Core, nodes: 4, members: 400, cores: 1, servers: 2, rtt: 1}, 2 + 2 + 0.5 + 0.5 + 2*0.5 + 0.99, 0},
	} {
		tt.c.messages = 3
		o := testModel().simulate(tt.c)
		if math.Abs(o.last-tt.last) > 0.01 || tt.mid > 0 && math.Abs(o.mid-tt.mid) > 0.05*tt.mid {
			t.Errorf("%s: got %.2f ms to the last and a median of %.2f, want %.2f and %.2f", tt.name, o.last, o.mid, tt.last, tt.mid)
		}
	}
}

// Messages that arrive while a node delivers share a write, so that a node keeps up with a rate at
// which it could not write them one by one.
func TestBatches(t *testing.T) {
	c := cluster{mode: costs.Memory, nodes: 1, members: 1000, cores: 1, messages: 2000, rate: 0.5}
	m := testModel()
	limit, by := m.limits(c)
	if limit != 1 || by != "deliveries" {
		t.Fatalf("limits: got %g, %s, want 1 message per ms, because of deliveries", limit, by)
	}
	if o := m.simulate(c); o.last < 15 || o.last99 > 60 || o.busy < 0.9 {
		t.Errorf("got %+v, want 15 to 60 ms, and a busy processor", o)
	}
	c = cluster{mode: costs.Ordered, nodes: 9, members: 9, cores: 1, rate: 0.2, messages: 2000}
	if limit, by = m.limits(c); limit != 0.25 || by != "copies" {
		t.Errorf("limits of nine nodes: got %g, %s, want 0.25, because of copies", limit, by)
	}
	if o := m.simulate(c); o.last99 < 10 || o.last99 > 200 {
		t.Errorf("near the limit of copies: got %+v, want a p99 of 10 to 200 ms", o)
	}
}

func TestWindow(t *testing.T) {
	if got := window(100_000, 355e-6, 8); math.Abs(got-8.875) > 0.001 {
		t.Errorf("got %g s, want 8.875", got)
	}
	m, f := loadModel(t)
	z := size(1_000_000, m, f)
	if z.machines != 11 || z.each != 100_000 || z.beats != 22 {
		t.Errorf("got %+v, want 11 machines with 100,000 connections each when one is lost, and 22 heartbeats per second", z)
	}
}

func TestCommand(t *testing.T) {
	for args, want := range map[string]string{
		"--nodes 3 --members 300":                "until the last subscriber",
		"--nodes 3 --members 300 --servers 1":    "until the last subscriber",
		"--nodes -1":                             "allowed are",
		"--nodes 3 --members 2":                  "allowed are",
		"--nodes 3 --servers 4":                  "no more servers than nodes",
		"--nodes 3 --rate 1e9":                   "messages per second, limited by",
		"--costs none.json":                      "no such file",
		"--costs scale_test.go":                  "scale_test.go",
		"extra":                                  `unexpected argument "extra"`,
		"--docs testdata --write --costs c.json": "no such file",
		"--help":                                 "help requested",
	} {
		var out, usage bytes.Buffer
		list := strings.Fields(args)
		if !strings.Contains(args, "--costs") {
			list = append([]string{"--costs", "costs.json"}, list...)
		}
		err := run(list, &out, &usage)
		got := out.String()
		if err != nil {
			got += err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want a text with %q", args, got, want)
		}
	}
}

func TestIncompleteFiles(t *testing.T) {
	_, f := loadModel(t)
	f.Runs, f.Store = f.Runs[1:2], nil
	if _, err := newModel(f); err == nil || !strings.Contains(err.Error(), "no run of topics, memory") || !strings.Contains(err.Error(), "no rate of a stream of 3 replicas") {
		t.Errorf("got %v, want errors that name the runs and rates that are missing", err)
	}
	if _, err := replaceSections("no section", []section{{"model", ""}}); err == nil {
		t.Error("a page without sections: got no error, want one")
	}
}
