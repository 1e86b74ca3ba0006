package bots

import (
	"fmt"
	"slices"
	"time"
)

// workerExited is the reason of clients whose worker has sent no final report.
const workerExited = "the worker has exited"

// result is the result of a run, as --json prints it. The names of fields end with the unit.
type result struct {
	Server      string             `json:"server"`
	Topic       string             `json:"topic"`
	Clients     int                `json:"clients"`
	Processes   int                `json:"processes"`
	Messages    int                `json:"messages"`
	Rate        float64            `json:"rate"`
	MessageSize int                `json:"message_size"`
	TimeoutMS   int64              `json:"timeout_ms"`
	SetupMS     float64            `json:"setup_ms"`
	RunMS       float64            `json:"run_ms"`
	Good        int                `json:"good"`
	Bad         int                `json:"bad"`
	Reasons     map[string]int     `json:"reasons"` // of clients that are not good
	Deliveries  int64              `json:"deliveries"`
	Latency     *quantiles         `json:"latency"` // by the timestamp; null without a delivery
	Wait        *quantiles         `json:"wait"`
	Coarse      buckets            `json:"histogram_500ms"` // of Latency
	Fine        buckets            `json:"histogram"`       // of Latency
	Broadcasts  []broadcastSummary `json:"bursts"`
	Notes       []string           `json:"notes"`

	// Not printed.
	setup, run    time.Duration
	latency, wait latencies
	ahead, late   int
	lag           time.Duration // the longest delay of the publisher
	publishErrors map[string]int
}

// broadcastSummary is the result of one message.
type broadcastSummary struct {
	Number  int        `json:"message"`
	Good    int        `json:"good"`
	Bad     int        `json:"bad"`
	Latency *quantiles `json:"latency"`
	Wait    *quantiles `json:"wait"`
}

// collector combines the workers' reports of one message.
type collector struct {
	from             map[*workerConn]bool
	latencies, waits []int32
	late, ahead      int
	lag              time.Duration
}

func (c *collector) add(w *workerConn, b *broadcastReport) {
	c.from[w] = true
	latencies, waits := samplesOf(b.Samples)
	c.latencies, c.waits = append(c.latencies, latencies...), append(c.waits, waits...)
	c.late += b.Late
	c.ahead += b.Ahead
}

func newResult(p *plan, address string) *result {
	return &result{
		Server: address, Topic: p.Topic, Clients: p.Clients, Messages: p.Repeat, Rate: p.Rate, MessageSize: max(p.MessageSize, 0),
		TimeoutMS: p.Timeout.Milliseconds(), Reasons: map[string]int{}, Coarse: buckets{}, Fine: buckets{}, Broadcasts: []broadcastSummary{},
		Notes: []string{}, publishErrors: map[string]int{},
	}
}

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// add adds message n and returns how many clients received it in time.
func (r *result) add(n int, c *collector) (good int) {
	good = len(c.waits)
	r.Deliveries += int64(good)
	r.latency.add(c.latencies)
	r.wait.add(c.waits)
	for _, t := range c.latencies {
		us := max(0, int64(t))
		r.Coarse.add(us/coarseStep*coarseStep, us/coarseStep*coarseStep+coarseStep)
		r.Fine.add(fineBucket(us))
	}
	r.ahead, r.late, r.lag = r.ahead+c.ahead, r.late+c.late, max(r.lag, c.lag)
	r.Broadcasts = append(r.Broadcasts, broadcastSummary{n, good, r.Clients - good, quantilesOf(c.latencies), quantilesOf(c.waits)})
	return good
}

func (r *result) publishFailed(err error) { r.publishErrors[reasonOf(err, connecting)]++ }

// complete computes the totals from the workers' final reports.
func (r *result) complete(workers []*workerConn, pub *publisher) {
	r.Reasons = map[string]int{}
	foreign, repeats := 0, 0
	for _, w := range workers {
		if w.final == nil {
			r.Reasons[workerExited] += w.numClients
			continue
		}
		r.Good += w.final.Good
		foreign, repeats = foreign+w.final.Foreign, repeats+w.final.Repeats
		for reason, n := range w.final.Reasons {
			r.Reasons[reason] += n
		}
	}
	r.Bad = r.Clients - r.Good
	slices.SortFunc(r.Broadcasts, func(a, b broadcastSummary) int { return a.Number - b.Number })
	r.Latency, r.Wait = r.latency.quantiles(), r.wait.quantiles()
	r.SetupMS, r.RunMS = millis(r.setup), millis(r.run)
	r.addNotes(foreign, repeats, pub)
}

func (r *result) addNotes(foreign, repeats int, pub *publisher) {
	if r.ahead > 0 {
		r.note("%d messages arrived before their timestamp: the clocks of server and clients differ, so latencies are invalid", r.ahead)
	}
	if r.late > 0 {
		r.note("%d messages arrived after the timeout", r.late)
	}
	if foreign > 0 {
		r.note("%d frames were not of this run", foreign)
	}
	if repeats > 0 {
		r.note("%d messages were duplicates", repeats)
	}
	for reason, n := range r.publishErrors {
		r.note("%d messages could not be published: %s", n, reason)
	}
	pub.mu.Lock()
	for reason, n := range pub.rejected {
		r.note("%d messages were rejected: %s", n, reason)
	}
	pub.mu.Unlock()
	if r.lag > 10*time.Millisecond {
		r.note("the publisher was up to %v late, which is part of the wait", r.lag.Round(time.Millisecond))
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
