package main

import (
	"container/heap"
	"math/rand/v2"
	"slices"

	"goranch/bench/internal/costs"
	"goranch/internal/loadgen"
)

// cluster is what is simulated: one topic with subscribers on all nodes.
type cluster struct {
	mode    string // as in package costs
	nodes   int
	members int     // on all nodes together
	cores   int     // of a machine; the deliveries of a node are divided among them
	shared  bool    // all nodes are on one machine
	servers int     // nats-servers outside the nodes; 0: one in each node
	rtt     float64 // ms between machines

	rate     float64 // messages per ms, at random times; 0: each is published when the one before has arrived
	messages int
}

// outcome is the result of a simulation, in ms.
type outcome struct {
	last, last99 float64 // until the last delivery of a message: median and p99 of the messages
	mid          float64 // median of all deliveries on other nodes than the publisher's, if there are any
	busy         float64 // share of the time in which the processors of a node deliver
}

// measuredCopies are the copies between nodes that the measured paths contain.
const measuredCopies = 2

// sim is a running simulation: a queue of events, in the order of time.
type sim struct {
	*model
	cluster
	now    float64
	events eventHeap
	serial int // of the last event, so that the order is always the same

	stored     float64   // when the stream can store the next message
	free       []float64 // when each nats-server can send the next copy
	nodesState []*node
	cpus       []*processor // one per machine
	sent       []float64    // when each message was published
	remaining  []int        // nodes that have not delivered a message
	lasts      []float64    // until the last delivery, by message
	waits      []float64    // some of the deliveries
	next       func()       // publishes the next message when the one before has arrived
}

// node delivers one batch after the other: what has arrived meanwhile is one write to each member.
type node struct {
	cpu     *processor
	pending []int // messages
	working bool
}

// simulate runs the simulation. The same seed is used each time.
func (m *model) simulate(c cluster) outcome {
	s := &sim{model: m, cluster: c, free: make([]float64, max(c.servers, 1))}
	machines := c.nodes
	if c.shared {
		machines = 1
	}
	for range machines {
		s.cpus = append(s.cpus, &processor{s: s})
	}
	for i := range c.nodes {
		s.nodesState = append(s.nodesState, &node{cpu: s.cpus[i%machines]})
	}
	s.sent, s.remaining = make([]float64, c.messages), make([]int, c.messages)
	random := rand.New(rand.NewPCG(1, 2))
	at := 0.0
	for i := range c.messages {
		if c.rate == 0 {
			break
		}
		at += random.ExpFloat64() / c.rate
		s.at(at, func() { s.publish(i) })
	}
	if c.rate == 0 {
		published := 0
		s.next = func() {
			if published < c.messages {
				i := published
				published++
				s.at(s.now+10, func() { s.publish(i) })
			}
		}
		s.next()
	}
	s.run()
	slices.Sort(s.lasts)
	slices.Sort(s.waits)
	return outcome{
		last: loadgen.Percentile(s.lasts, 0.5), last99: loadgen.Percentile(s.lasts, 0.99),
		mid: loadgen.Percentile(s.waits, 0.5), busy: s.cpus[0].used / s.now,
	}
}

// publish stores a message and sends a copy to each node.
func (s *sim) publish(msg int) {
	s.sent[msg], s.remaining[msg] = s.now, s.nodes
	s.stored = max(s.now, s.stored) + 1/s.model.rate(s.cluster)
	ready := s.stored + s.base + s.path(s.cluster) - s.write(1)
	if s.nodes > 1 && !s.shared {
		ready += 2 * s.rtt // to the leader, to its followers and back, and to a node
	}
	if s.servers == 0 {
		begin := max(ready, s.free[0])
		copies := 0
		for i := range s.nodes {
			copies = max(0, i-measuredCopies)
			s.at(begin+float64(copies)*s.copy, func() { s.arrive(i, msg) })
		}
		s.free[0] = begin + float64(copies)*s.copy
		return
	}
	begin := max(ready, s.free[0])
	for k := range s.servers { // the first is the leader: it sends to the other servers, then to its own nodes
		at := begin + float64(s.servers-1)*s.copy
		if k > 0 {
			at = max(begin+float64(k)*s.copy+s.rtt/2, s.free[k])
		}
		for i := k; i < s.nodes; i += s.servers {
			at += s.copy
			s.at(at, func() { s.arrive(i, msg) })
		}
		s.free[k] = at
	}
}

func (s *sim) arrive(i, msg int) {
	n := s.nodesState[i]
	n.pending = append(n.pending, msg)
	if !n.working {
		s.deliver(i)
	}
}

// deliver writes what is pending to all members of a node.
func (s *sim) deliver(i int) {
	n := s.nodesState[i]
	batch := n.pending
	n.pending, n.working = nil, len(batch) > 0
	if !n.working {
		return
	}
	members := float64(s.members) / float64(s.nodes) / float64(s.cores) // of one processor
	onCPU := members
	if s.shared {
		onCPU *= float64(s.nodes)
	}
	begin := s.now
	n.cpu.add(members*(s.write(onCPU)+float64(len(batch)-1)*s.batch), func() {
		for _, msg := range batch {
			s.delivered(i, msg, begin)
		}
		s.deliver(i)
	})
}

// samples is the number of deliveries of a message on one node whose times are recorded; deliveries
// are spread evenly over the time of a batch.
const samples = 9

func (s *sim) delivered(i, msg int, begin float64) {
	if (i > 0 || s.nodes == 1) && s.nodes <= 3 {
		for k := range samples {
			at := begin + (s.now-begin)*(float64(k)+0.5)/samples
			s.waits = append(s.waits, at-s.sent[msg])
		}
	}
	if s.remaining[msg]--; s.remaining[msg] == 0 {
		s.lasts = append(s.lasts, s.now-s.sent[msg])
		if s.next != nil {
			s.next()
		}
	}
}

// limits returns the largest rate in messages per ms, and what limits it.
func (m *model) limits(c cluster) (rate float64, by string) {
	rate, by = m.rate(c), "stream"
	copies := max(0, c.nodes-1)
	if c.servers > 0 {
		copies = c.servers - 1 + (c.nodes+c.servers-1)/c.servers
	}
	if copies > 0 && c.mode != costs.Memory {
		if r := 1 / (float64(copies) * m.copy); r < rate {
			rate, by = r, "copies"
		}
	}
	if r := 1 / (float64(c.members) / float64(c.nodes) / float64(c.cores) * m.batch); r < rate {
		rate, by = r, "deliveries"
	}
	return rate, by
}

// processor divides its time evenly among the nodes that deliver.
type processor struct {
	s       *sim
	jobs    []*job
	changed float64 // when the jobs were last brought up to date
	version int     // of jobs; events of an older one are void
	used    float64
}

type job struct {
	left float64
	done func()
}

func (p *processor) add(work float64, done func()) {
	p.progress()
	p.jobs = append(p.jobs, &job{work, done})
	p.schedule()
}

// progress takes the time since the last change from all jobs.
func (p *processor) progress() {
	if len(p.jobs) > 0 {
		passed := p.s.now - p.changed
		p.used += passed
		for _, j := range p.jobs {
			j.left -= passed / float64(len(p.jobs))
		}
	}
	p.changed = p.s.now
}

// schedule makes an event for the job that ends next.
func (p *processor) schedule() {
	p.version++
	if len(p.jobs) == 0 {
		return
	}
	first := slices.MinFunc(p.jobs, func(a, b *job) int {
		if a.left < b.left {
			return -1
		}
		return 1
	})
	version := p.version
	p.s.at(p.s.now+max(0, first.left)*float64(len(p.jobs)), func() {
		if p.version != version {
			return
		}
		p.progress()
		p.jobs = slices.DeleteFunc(p.jobs, func(j *job) bool { return j == first })
		p.schedule()
		first.done()
	})
}

type event struct {
	at     float64
	serial int
	f      func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].serial < h[j].serial
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}

// at calls f at a time.
func (s *sim) at(t float64, f func()) {
	s.serial++
	heap.Push(&s.events, event{t, s.serial, f})
}

func (s *sim) run() {
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.f()
	}
}
