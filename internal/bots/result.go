package bots

import (
	"fmt"
	"slices"
	"time"
)

// result is what a run has come to, as --json prints it. Times are in milliseconds or microseconds, by their names.
type result struct {
	Server      string         `json:"server"`
	Topic       string         `json:"topic"`
	Clients     int            `json:"clients"`
	Processes   int            `json:"processes"`
	Messages    int            `json:"messages"`
	Rate        float64        `json:"rate"`
	MessageSize int            `json:"message_size"`
	TimeoutMS   int64          `json:"timeout_ms"`
	SetupMS     float64        `json:"setup_ms"`
	RunMS       float64        `json:"run_ms"`
	Good        int            `json:"good"`
	Bad         int            `json:"bad"`
	Reasons     map[string]int `json:"reasons"` // of bad bots
	Deliveries  int64          `json:"deliveries"`
	Latency     *quantiles     `json:"latency"` // by the timestamp; null without a delivery
	Wait        *quantiles     `json:"wait"`
	Coarse      buckets        `json:"histogram_500ms"` // of Latency
	Fine        buckets        `json:"histogram"`       // of Latency
	Bursts      []burstSummary `json:"bursts"`
	Notes       []string       `json:"notes"`

	setup, run     time.Duration
	latency, wait  latencies
	ahead, late    int
	lag            time.Duration // the most that the publisher was late
	refusedPublish map[string]int
}

// burstSummary is one message.
type burstSummary struct {
	Number  int        `json:"message"`
	Good    int        `json:"good"`
	Bad     int        `json:"bad"`
	Latency *quantiles `json:"latency"`
	Wait    *quantiles `json:"wait"`
}

// collected is what crews have told of one message.
type collected struct {
	from          map[*member]bool
	stamps, waits []int32
	late, ahead   int
	lag           time.Duration
}

func (c *collected) add(m *member, b *burstResult) {
	c.from[m] = true
	stamps, waits := samplesOf(b.Samples)
	c.stamps, c.waits = append(c.stamps, stamps...), append(c.waits, waits...)
	c.late += b.Late
	c.ahead += b.Ahead
}

func newResult(p *plan, address string) *result {
	return &result{
		Server: address, Topic: p.Topic, Clients: p.Clients, Messages: p.Repeat, Rate: p.Rate, MessageSize: max(p.MessageSize, 0),
		TimeoutMS: p.Timeout.Milliseconds(), Reasons: map[string]int{}, Coarse: buckets{}, Fine: buckets{}, Bursts: []burstSummary{},
		Notes: []string{}, refusedPublish: map[string]int{},
	}
}

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// add sums up one message, and returns how many got it in time.
func (r *result) add(n int, c *collected) (good int) {
	good = len(c.waits)
	r.Deliveries += int64(good)
	r.latency.add(c.stamps)
	r.wait.add(c.waits)
	for _, t := range c.stamps {
		us := max(0, int64(t))
		r.Coarse.add(us/coarse*coarse, us/coarse*coarse+coarse)
		r.Fine.add(fineBucket(us))
	}
	r.ahead, r.late, r.lag = r.ahead+c.ahead, r.late+c.late, max(r.lag, c.lag)
	r.Bursts = append(r.Bursts, burstSummary{n, good, r.Clients - good, quantilesOf(c.stamps), quantilesOf(c.waits)})
	return good
}

func (r *result) unpublished(err error) { r.refusedPublish[reasonOf(err, connecting)]++ }

// sum puts together the end.
func (r *result) sum(members []*member, pub *publisher) {
	r.Reasons = map[string]int{}
	foreign, repeats := 0, 0
	for _, m := range members {
		if m.final == nil {
			r.Reasons["its crew has ended"] += m.clients
			continue
		}
		r.Good += m.final.Good
		foreign, repeats = foreign+m.final.Foreign, repeats+m.final.Repeats
		for why, n := range m.final.Reasons {
			r.Reasons[why] += n
		}
	}
	r.Bad = r.Clients - r.Good
	slices.SortFunc(r.Bursts, func(a, b burstSummary) int { return a.Number - b.Number })
	r.Latency, r.Wait = r.latency.quantiles(), r.wait.quantiles()
	r.SetupMS, r.RunMS = millis(r.setup), millis(r.run)
	if r.ahead > 0 {
		r.note("%d messages arrived before their timestamp: the server's clock is another one, and latencies mean nothing", r.ahead)
	}
	if r.late > 0 {
		r.note("%d messages came too late", r.late)
	}
	if foreign > 0 {
		r.note("%d frames were not of this run", foreign)
	}
	if repeats > 0 {
		r.note("%d messages came twice or out of order", repeats)
	}
	for why, n := range r.refusedPublish {
		r.note("%d messages could not be published: %s", n, why)
	}
	pub.mu.Lock()
	for why, n := range pub.complaints {
		r.note("%d messages were refused: %s", n, why)
	}
	pub.mu.Unlock()
	if r.lag > 10*time.Millisecond {
		r.note("the publisher was up to %v late, which is part of the wait", r.lag.Round(time.Millisecond))
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
