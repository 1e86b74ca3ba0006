package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"goranch/internal/loadgen"
)

const (
	openBatch = 64              // requests sent in a row when the generator is late, before it reads answers
	openDrain = 2 * time.Second // the longest wait for answers after the window
)

// openResult adds to the window the latency of the requests that were scheduled within it.
type openResult struct {
	windowResult
	Requests   int   `json:"requests"`   // scheduled within the window
	Unanswered int   `json:"unanswered"` // of these; their latency is how long they have waited
	P50        int64 `json:"p50_ns"`
	P99        int64 `json:"p99_ns"`
	P999       int64 `json:"p999_ns"`
	Max        int64 `json:"max_ns"`
	LateP99    int64 `json:"late_p99_ns"` // from the scheduled time until the generator sent
}

// openConn is a connection with any number of requests on the way. Times are nanoseconds since the
// start of the loop.
type openConn struct {
	fd       int
	unsent   int     // bytes that the send buffer has not taken
	sent     int     // offset in the payload of the next byte to send
	received int     // offset in the payload of the next byte to receive
	due      []int64 // the scheduled times of requests, oldest first
	answered int     // of due
}

// openLoop sends requests at scheduled times, whether or not earlier ones were answered, and
// measures from the scheduled time. A closed loop would send nothing while the server stalls, and
// so would not measure most of a stall ("coordinated omission").
//
// Arrivals are a Poisson process, as many independent clients make one, on randomly chosen
// connections. Constant intervals would let a server work in step with them, without any queue.
type openLoop struct {
	*echoClients
	conns      []openConn
	rng        *rand.Rand
	interval   float64 // mean nanoseconds between requests
	start      time.Time
	next       float64 // when the next request is scheduled
	begin, end int64   // of the window; 0 before it begins
	ops        int64   // answers
	waiting    int     // requests scheduled within the window that have no answer
	latencies  []int64
	late       []int64
}

func loadOpen(cfg loadConfig) error {
	if cfg.rate <= 0 {
		return errors.New("--rate: the open loop requires a number of requests per second")
	}
	runtime.LockOSThread()
	// A garbage collection would delay requests.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(2 << 30)
	e, err := openEcho(cfg, cfg.conns)
	if err != nil {
		return err
	}
	result, err := newOpenLoop(e, cfg).drive(cfg)
	if err != nil {
		return err
	}
	return cfg.send(result)
}

func newOpenLoop(e *echoClients, cfg loadConfig) *openLoop {
	expected := int(cfg.rate*cfg.duration.Seconds()*1.1) + 1000
	o := &openLoop{
		echoClients: e,
		conns:       make([]openConn, len(e.conns)),
		// The same schedule for each engine.
		rng:       rand.New(rand.NewPCG(uint64(cfg.conns), 1)),
		interval:  float64(time.Second) / cfg.rate,
		latencies: make([]int64, 0, expected),
		late:      make([]int64, 0, expected),
	}
	e.buf = make([]byte, 64<<10) // so that one read takes all answers
	for i := range o.conns {
		o.conns[i].fd = e.conns[i].fd
	}
	return o
}

// drive sends throughout warm-up and window, and afterwards until the requests of the window are
// answered, so that the load is the same for the last of them.
func (o *openLoop) drive(cfg loadConfig) (result openResult, err error) {
	o.start = time.Now()
	var from, to mark
	for {
		if err := o.turn(); err != nil {
			return result, err
		}
		now := o.now()
		switch {
		case now < int64(cfg.warmup):
		case o.begin == 0:
			if from, err = takeMark(cfg.serverPID, o.ops); err != nil {
				return result, err
			}
			o.begin = o.now()
			o.end = o.begin + int64(cfg.duration)
		case now < o.end:
		case to.at.IsZero():
			if to, err = takeMark(cfg.serverPID, o.ops); err != nil {
				return result, err
			}
		case int64(o.next) < o.end: // the generator is late
		case o.waiting == 0 || now > o.end+int64(openDrain):
			result, err := o.result(now)
			if err != nil {
				return result, err
			}
			result.windowResult, err = from.until(to)
			return result, err
		}
	}
}

func (o *openLoop) now() int64 { return int64(time.Since(o.start)) }

func (o *openLoop) within(due int64) bool { return o.begin > 0 && due >= o.begin && due < o.end }

// turn sends what is due and handles the answers that have arrived.
func (o *openLoop) turn() error {
	var wait time.Duration
	if err := o.sendDue(); err != nil {
		return err
	}
	if int64(o.next)-o.now() > int64(2*time.Millisecond) {
		wait = time.Millisecond // the resolution of epoll_wait
	}
	events, err := o.Wait(wait)
	if err != nil {
		return err
	}
	for _, ev := range events {
		c := &o.conns[ev.Fd]
		if err := o.flush(c); err != nil {
			return err
		}
		if err := o.receive(c); err != nil {
			return fmt.Errorf("connection %d: %w", ev.Fd+1, err)
		}
	}
	return nil
}

func (o *openLoop) sendDue() error {
	for range openBatch {
		now, due := o.now(), int64(o.next)
		if due > now {
			return nil
		}
		c := &o.conns[o.rng.IntN(len(o.conns))]
		c.due = append(c.due, due)
		c.unsent += len(o.payload)
		if o.within(due) {
			o.waiting++
			o.late = append(o.late, now-due)
		}
		o.next += o.rng.ExpFloat64() * o.interval
		if err := o.flush(c); err != nil {
			return err
		}
	}
	return nil
}

func (o *openLoop) flush(c *openConn) error {
	for c.unsent > 0 {
		n, err := loadgen.Write(c.fd, o.payload[c.sent:min(c.sent+c.unsent, len(o.payload))])
		if n == 0 {
			return err
		}
		c.unsent -= n
		c.sent = (c.sent + n) % len(o.payload)
	}
	return nil
}

// receive reads all that has arrived on a connection. Each len(payload) bytes answer the oldest
// request.
func (o *openLoop) receive(c *openConn) error {
	for {
		n, err := loadgen.Read(c.fd, o.buf)
		if err == io.EOF {
			return errPeerClosed
		}
		if err != nil {
			return err
		}
		now := o.now()
		for part := o.buf[:n]; len(part) > 0; {
			m := min(len(part), len(o.payload)-c.received)
			if !bytes.Equal(part[:m], o.payload[c.received:c.received+m]) {
				return errWrongAnswer
			}
			part = part[m:]
			if c.received += m; c.received == len(o.payload) {
				c.received = 0
				if err := o.answer(c, now); err != nil {
					return err
				}
			}
		}
		if n < len(o.buf) {
			return nil
		}
	}
}

// answer records that the oldest request of a connection was answered.
func (o *openLoop) answer(c *openConn, now int64) error {
	if c.answered == len(c.due) {
		return errors.New("an answer arrived without a request")
	}
	due := c.due[c.answered]
	if c.answered++; c.answered == len(c.due) {
		c.due, c.answered = c.due[:0], 0
	}
	o.ops++
	if o.within(due) {
		o.waiting--
		o.latencies = append(o.latencies, now-due)
	}
	return nil
}

// result computes the percentiles. A request without an answer counts with the time that it has
// waited until now.
func (o *openLoop) result(now int64) (openResult, error) {
	unanswered := 0
	for i := range o.conns {
		c := &o.conns[i]
		for _, due := range c.due[c.answered:] {
			if o.within(due) {
				unanswered++
				o.latencies = append(o.latencies, now-due)
			}
		}
	}
	if len(o.latencies) == 0 {
		return openResult{}, errors.New("no request was scheduled within the window: set a longer --duration or a higher --rate")
	}
	slices.Sort(o.latencies)
	slices.Sort(o.late)
	at := func(p float64) int64 { return loadgen.Percentile(o.latencies, p) }
	return openResult{
		Requests: len(o.latencies), Unanswered: unanswered,
		P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: at(1),
		LateP99: loadgen.Percentile(o.late, 0.99),
	}, nil
}
