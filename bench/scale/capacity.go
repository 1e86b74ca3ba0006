package main

import (
	"fmt"
	"math"
	"strings"

	"goranch/bench/internal/costs"
)

// What the capacity table assumes. The page says so too.
const (
	perMachine   = 100_000 // connections when one machine is lost
	machineCores = 8
	perClient    = 0.1        // messages per second that a client receives
	heartbeat    = 30.0       // s without output until a PING
	refresh      = 600.0      // s after which the record of an attached session is saved again
	savesPerOpen = 2          // writes of the store for a session that returns: it is taken over, and saved with its subscriptions
	load         = 0.5        // share of the processors that a reconnection may use
	packetBytes  = 52 + 38    // TCP and IP with timestamps, and Ethernet, for each packet
	tlsRecord    = 22         // bytes
	beat         = 5.0        // s between the heartbeats of a node
	giga         = 1000000000 // bytes
)

// sizing is the result for one number of connections.
type sizing struct {
	n, machines, servers int
	each                 int // connections of a machine when one is lost
	user, tls, kernel    float64
	pings, pingCores     float64
	deliveries, cores    float64
	mbit                 float64 // of a machine
	lost                 float64 // s over which the clients of a lost machine return
	all                  float64 // s over which all return
	saves                float64 // per s
	lostSaves            float64 // s that the stream of sessions needs for the clients of a lost machine
	beats                float64 // messages per s that all nodes receive
}

// size computes what n connections need.
func size(n int, m *model, f *costs.File) (z sizing) {
	cost := func(name string) float64 { c, _ := f.Cost(name); return c.Value }
	z.n = n
	z.machines = max(3, (n+perMachine-1)/perMachine+1)
	if z.machines > 10 {
		z.servers = max(3, z.machines/100)
	}
	z.each = (n + z.machines - 2) / (z.machines - 1)
	each := float64(z.each)
	z.user, z.tls, z.kernel = each*cost("client_bytes"), each*cost("tls_bytes"), each*kernelBytes(f)
	write := m.write(each/machineCores) / 1000 // s
	z.pings = float64(n) / heartbeat
	z.pingCores = z.pings * (write + cost("wake")/1e6)
	z.deliveries = float64(n) * perClient
	z.cores = z.deliveries * write
	z.mbit = each * perClient * (cost("message_bytes") + packetBytes + tlsRecord) * 8 / 1e6
	moved := float64(n) / float64(z.machines)
	z.lost = window(moved, cost("tls_connect")/1e6, float64(z.machines-1)*machineCores)
	z.all = window(float64(n), cost("tls_connect")/1e6, float64(z.machines)*machineCores)
	z.saves = float64(n) / refresh
	z.lostSaves = moved * savesPerOpen / (m.stored[3] * 1000)
	z.beats = float64(z.machines*(z.machines-1)) / beat
	return z
}

// window returns the time over which n clients must spread their attempts, if each costs a
// processor some time and they may use the share load of the processors.
func window(n, cost, processors float64) float64 { return n * cost / (load * processors) }

var sizes = []int{10_000, 100_000, 1_000_000, 10_000_000}

func capacityTable(m *model, f *costs.File) string {
	var all []sizing
	for _, n := range sizes {
		all = append(all, size(n, m, f))
	}
	var b strings.Builder
	b.WriteString("| |")
	for _, z := range all {
		fmt.Fprintf(&b, " %s |", thousands(z.n))
	}
	b.WriteString("\n|---|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		cell func(z sizing) string
	}{
		{"machines of 8 processors", func(z sizing) string { return fmt.Sprint(z.machines) }},
		{"nats-servers", func(z sizing) string {
			if z.servers == 0 {
				return "in the nodes"
			}
			return fmt.Sprint(z.servers)
		}},
		{"connections and descriptors of a machine when one is lost", func(z sizing) string { return thousands(z.each) }},
		{"its memory in user space, GB", func(z sizing) string { return digits(z.user / giga) }},
		{"for TLS in addition, GB", func(z sizing) string { return digits(z.tls / giga) }},
		{"in the kernel, idle sockets, GB", func(z sizing) string { return digits(z.kernel / giga) }},
		{"deliveries per second, in all", func(z sizing) string { return digits(z.deliveries) }},
		{"processors for these, in all", func(z sizing) string { return digits(z.cores) }},
		{"network of a machine for these, Mbit/s", func(z sizing) string { return digits(z.mbit) }},
		{"PINGs per second, if nothing else is sent", func(z sizing) string { return digits(z.pings) }},
		{"processors for these, in all", func(z sizing) string { return digits(z.pingCores) }},
		{"a lost machine: its clients must return over, s", func(z sizing) string { return digits(z.lost) }},
		{"all machines: the clients must return over, s", func(z sizing) string { return digits(z.all) }},
		{"session records saved per second, all attached", func(z sizing) string { return digits(z.saves) }},
		{"a lost machine: time to save its sessions at other nodes, s", func(z sizing) string { return digits(z.lostSaves) }},
		{"one stream stores that many records", func(z sizing) string {
			if z.saves > m.stored[3]*1000/2 {
				return fmt.Sprintf("no: %d buckets", int(math.Ceil(z.saves/(m.stored[3]*1000/2))))
			}
			return "yes"
		}},
		{"heartbeats that all nodes receive, per second", func(z sizing) string { return digits(z.beats) }},
	} {
		fmt.Fprintf(&b, "| %s |", row.name)
		for _, z := range all {
			fmt.Fprintf(&b, " %s |", row.cell(z))
		}
		b.WriteString("\n")
	}
	return b.String()
}
