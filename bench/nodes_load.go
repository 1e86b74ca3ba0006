package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/internal/loadgen"
)

// spreadConfig is the configuration of a generator for several nodes.
type spreadConfig struct {
	engine    string // as registered; decides the wire protocol
	addrs     []netip.AddrPort
	pids      []int
	members   int // on all nodes together
	publishes int
}

// spreadResult is the result of a run; there is one value per publish, except for Waits.
type spreadResult struct {
	LastNs      []int64 `json:"last_ns"`
	AckNs       []int64 `json:"ack_ns"` // empty if the server does not answer publishes
	P50Ns       int64   `json:"p50_ns"` // of all deliveries on other nodes than the publisher's, if there are any
	P99Ns       int64   `json:"p99_ns"`
	CPUNs       int64   `json:"cpu_ns"` // of all nodes, from the first publish to the last delivery
	WallNs      int64   `json:"wall_ns"`
	OthersCPUNs int64   `json:"others_cpu_ns"`
	KernelBytes float64 `json:"kernel_bytes"` // of one idle socket: growth of the kernel's slabs
}

const (
	spreadWarmup = 3                      // publishes that are not measured
	spreadPause  = 10 * time.Millisecond  // between publishes, so that each meets an idle server
	spreadSettle = 700 * time.Millisecond // after the last subscription, until all nodes know of it
)

// spreadMain runs the generator: one client of the first node publishes, and members on all nodes
// receive.
func spreadMain(args []string) error {
	var cfg spreadConfig
	fs := flag.NewFlagSet("bench spread", flag.ContinueOnError)
	fs.StringVar(&cfg.engine, "engine", "goranch-topics", "the engine that decides the wire protocol")
	addrs := fs.String("addrs", "", "addresses of the nodes, separated by commas")
	pids := fs.String("pids", "", "process ids of the nodes, separated by commas")
	fs.IntVar(&cfg.members, "members", 3, "members on all nodes together")
	fs.IntVar(&cfg.publishes, "publishes", 20, "measured publishes")
	if err := fs.Parse(args); err != nil {
		return err
	}
	for _, a := range splitList(*addrs) {
		addr, err := netip.ParseAddrPort(a)
		if err != nil {
			return err
		}
		cfg.addrs = append(cfg.addrs, addr)
	}
	for _, p := range splitList(*pids) {
		pid, err := strconv.Atoi(p)
		if err != nil {
			return err
		}
		cfg.pids = append(cfg.pids, pid)
	}
	if len(cfg.addrs) == 0 || cfg.members < len(cfg.addrs) || cfg.publishes < 1 {
		return errors.New("--addrs is required, with at least one of --members for each, and --publishes must be positive")
	}
	time.AfterFunc(maxLife, func() { os.Exit(2) })
	phaseGate()
	runtime.LockOSThread()
	result, err := cfg.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func (cfg spreadConfig) run() (res spreadResult, err error) {
	e, err := findEngine(cfg.engine)
	if err != nil {
		return res, err
	}
	slab, err := slabBytes()
	if err != nil {
		return res, err
	}
	m, err := cfg.openMembers(e)
	if err != nil {
		return res, err
	}
	defer m.close()
	m.dialer = m.dialers[0]
	pub, err := m.openPublisher(loadConfig{conns: cfg.members})
	if err != nil {
		return res, err
	}
	time.Sleep(spreadSettle)
	open, err := slabBytes()
	if err != nil {
		return res, err
	}
	if err := m.warmUp(pub); err != nil {
		return res, fmt.Errorf("warm-up: %w", err)
	}
	m.waits, m.acks, m.lasts = m.waits[:0], nil, nil
	before, err := cfg.usage()
	if err != nil {
		return res, err
	}
	for range cfg.publishes {
		if err := m.publishOnce(pub, stallTimeout); err != nil {
			return res, err
		}
	}
	after, err := cfg.usage()
	if err != nil {
		return res, err
	}
	slices.Sort(m.waits)
	return spreadResult{
		LastNs: m.lasts, AckNs: m.acks, P50Ns: loadgen.Percentile(m.waits, 0.5), P99Ns: loadgen.Percentile(m.waits, 0.99),
		KernelBytes: (open - slab) / float64(2*cfg.members), // both ends are on this machine
		CPUNs:       int64(after.serverCPU - before.serverCPU), WallNs: int64(after.at.Sub(before.at)),
		OthersCPUNs: max(0, int64(after.machineCPU-before.machineCPU-(after.serverCPU-before.serverCPU)-(after.loadCPU-before.loadCPU))),
	}, nil
}

// slabBytes returns the memory of the kernel's slabs, which hold sockets and files. It is that of
// the whole machine.
func slabBytes() (float64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\nSlab:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("/proc/meminfo, Slab: %w", err)
	}
	return kib * 1024, nil
}

// usage returns the CPU time of all nodes and of others.
func (cfg spreadConfig) usage() (mark, error) {
	m, err := takeMark(cfg.pids[0], 0)
	for _, pid := range cfg.pids[1:] {
		cpu, e := processCPU(pid)
		m.serverCPU, err = m.serverCPU+cpu, errors.Join(err, e)
	}
	return m, err
}

// spreadMembers are the members on all nodes. Member i is on node i*nodes/members.
type spreadMembers struct {
	*fanoutMembers
	dialers []*loadgen.Dialer
	own     int // members on the publisher's node, whose deliveries are left out of waits; 0 with one node
	text    []byte
	each    int // units of one message, see receive

	waits, acks, lasts []int64 // in ns since the publish
}

func (cfg spreadConfig) openMembers(e engine) (*spreadMembers, error) {
	c, err := newClients(loadConfig{addr: cfg.addrs[0]})
	if err != nil {
		return nil, err
	}
	m := &spreadMembers{fanoutMembers: &fanoutMembers{
		clients: c, wireProtocol: *e.fanout, answers: make([][]byte, cfg.members), buf: make([]byte, 256<<10),
	}}
	payload := loadConfig{fanout: e.fanout, size: 64}.payload()
	m.text, m.each = m.publish(payload), 1
	if m.last == 0 {
		m.each = len(m.deliver(payload))
	}
	for _, addr := range cfg.addrs {
		d, err := loadgen.NewDialer(addr, clientsPerIP)
		if err != nil {
			return nil, err
		}
		m.dialers = append(m.dialers, d)
	}
	for i := range cfg.members {
		node := i * len(cfg.addrs) / cfg.members
		if node == 0 && len(cfg.addrs) > 1 {
			m.own = i + 1
		}
		m.dialer = m.dialers[node]
		x, err := m.dial(i, i)
		if err != nil {
			return nil, err
		}
		m.conns = append(m.conns, x)
		if err := m.await(maxOpening, m.advanceJoin); err != nil {
			return nil, err
		}
	}
	return m, m.await(1, m.advanceJoin)
}

// warmUp publishes messages that are not measured. A node that does not know all members of the
// others yet does not send a message to them, so that it is published again.
func (m *spreadMembers) warmUp(pub *exchange) error {
	begin := time.Now()
	for done := 0; done < spreadWarmup; {
		err := m.publishOnce(pub, time.Second)
		switch {
		case err == nil:
			done++
		case !errors.Is(err, errMissing) || time.Since(begin) > stallTimeout:
			return err
		}
	}
	return nil
}

var errMissing = errors.New("members have not received a message")

// publishOnce publishes a message and waits until all members have it.
func (m *spreadMembers) publishOnce(pub *exchange, limit time.Duration) error {
	time.Sleep(spreadPause)
	begin := time.Now()
	if err := pub.request(m.text); err != nil {
		return err
	}
	acked := int64(0)
	got, want := 0, m.each*len(m.conns)
	answers := m.last != 0 // nats does not answer publishes
	for end := begin.Add(limit); got < want || answers && acked == 0; {
		events, err := m.Wait(50 * time.Millisecond)
		if err != nil {
			return err
		}
		at := int64(time.Since(begin))
		for _, ev := range events {
			if ev.Fd == publisherID {
				acked = max(acked, at)
				err = m.advancePublisher(pub, m.text)
			} else {
				var n int
				n, err = m.receive(&m.conns[ev.Fd], nil)
				if got += n; int(ev.Fd) >= m.own {
					m.waits = append(m.waits, int64(time.Since(begin)))
				}
				if got == want {
					m.lasts = append(m.lasts, int64(time.Since(begin)))
				}
			}
			if err != nil {
				return err
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %d of %d %s were received within %v", errMissing, got, want, m.unit(), limit)
		}
	}
	if got > want {
		return fmt.Errorf("received %d %s, want %d", got, m.unit(), want)
	}
	if acked > 0 {
		m.acks = append(m.acks, acked)
	}
	return nil
}
