package clustertest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"goranch/protocol/pubsub"
)

var (
	schedules = flag.Int("schedules", 2, "number of schedules of faults")
	firstSeed = flag.Uint64("seed", 1, "seed of the first schedule")
	parallel  = flag.Int("clusters", 2, "clusters at the same time")
	verbose   = flag.Bool("verbose", false, "log actions and errors")
)

func TestMain(m *testing.M) {
	shortenTimes()
	goleak.VerifyTestMain(m)
}

// Three nodes keep the promises of docs/cluster.md whatever fails.
func TestSchedules(t *testing.T) {
	slots := make(chan struct{}, *parallel)
	var wg sync.WaitGroup
	for k := range *schedules {
		seed := *firstSeed + uint64(k)
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { runSchedule(t, NewSchedule(seed, 50*time.Millisecond)) })
		})
	}
	wg.Wait()
}

func runSchedule(t *testing.T, s Schedule) {
	c := newCluster(t, s)
	defer func() {
		if t.Failed() {
			t.Errorf("%vreplay: go test ./internal/clustertest -run Schedules -schedules 1 -seed %d -verbose", s, s.Seed)
		}
	}()
	if t.Failed() {
		return
	}
	c.createSession()
	c.createSession()
	var publishers, others sync.WaitGroup
	working, stop := context.WithCancel(context.Background())
	attached, detach := context.WithCancel(context.Background())
	random := func(k int) *rand.Rand { return rand.New(rand.NewPCG(s.Seed, uint64(k))) }
	for k, topic := range topicNames {
		for i := range 2 {
			others.Go(func() { c.subscribe(attached, topic, false, random(10*k+i)) })
		}
		others.Go(func() { c.subscribe(attached, topic, true, random(10*k+9)) })
	}
	for k := range 3 {
		publishers.Go(func() { c.publish(working, fmt.Sprint("p", k), random(100+k)) })
	}
	for k, id := range c.sessions {
		publishers.Go(func() { c.useSession(working, id, random(200+k)) })
	}
	c.run()
	c.waitReady()
	stop()
	publishers.Wait()
	c.finish()
	detach()
	others.Wait()
	violations := Check(c.rec.Events(), Limits{Keep: s.Keep, SessionsLost: s.Has(DeleteSessions)})
	if len(violations) > 0 {
		t.Errorf("got %d violations, want none:\n%s", len(violations), Describe(violations))
	}
	if *verbose {
		t.Log(c.summary())
	}
}

// finish publishes a last message to each topic, waits until all attachments have received it and each
// session has one client, and records the end.
func (c *cluster) finish() {
	r := rand.New(rand.NewPCG(c.schedule.Seed, 300))
	for _, topic := range topicNames {
		c.publishLast(topic, r)
	}
	c.waitFor("last messages at all attachments", c.complete)
	for _, id := range c.sessions {
		ok := c.waitFor("use of a session", func() bool {
			return c.use(c.nodes[r.IntN(3)], id, "last"+fmt.Sprint(c.rec.Now()), false) || c.schedule.Has(DeleteSessions)
		})
		if ok && !c.schedule.Has(DeleteSessions) {
			c.waitFor("one client of a session", func() bool { return len(c.holding(id)) == 1 })
		}
	}
	c.mu.Lock()
	for at, topic := range c.live {
		c.rec.Add(Event{Kind: Attached, Attachment: at, Topic: topic})
	}
	c.mu.Unlock()
	c.recordStream()
}

func (c *cluster) publishLast(topic string, r *rand.Rand) {
	c.waitFor("acknowledgement of the last message", func() bool {
		w, err := c.nodes[r.IntN(3)].dial(context.Background())
		if err != nil {
			return false
		}
		defer w.Close()
		return w.Publish(c.rec, topic, "last "+topic, true, 6*time.Second) == Accepted
	})
}

// complete reports whether all attachments have received the last message of their topic.
func (c *cluster) complete() bool {
	have := map[int]bool{}
	for _, e := range c.rec.Events() {
		if e.Kind == Delivered && strings.HasPrefix(e.ID, "last ") {
			have[e.Attachment] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.live {
		if !have[at] {
			return false
		}
	}
	return len(c.live) == 2*len(topicNames)
}

func (c *cluster) holding(id string) (all []*holder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.holders {
		if h.session == id && h.holds() {
			all = append(all, h)
		}
	}
	return all
}

// recordStream records what the stream has.
func (c *cluster) recordStream() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	js, err := c.js()
	if err != nil {
		c.t.Error(err)
		return
	}
	s, err := js.Stream(ctx, topicStream)
	if err != nil {
		c.t.Errorf("stream: got %v, want no error", err)
		return
	}
	epoch := c.nodes[0].now().broker.Stats().Epoch
	info := s.CachedInfo().State
	for seq := info.FirstSeq; seq <= info.LastSeq; {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject("ranch.t.>"))
		if err != nil {
			c.t.Errorf("message %d: got %v, want no error", seq, err)
			return
		}
		var f frame
		if err := json.Unmarshal(m.Data[:len(m.Data)-1], &f); err != nil {
			c.t.Errorf("message %d: got %q, want a frame", seq, m.Data)
			return
		}
		c.rec.Add(Event{Kind: Stored, Topic: *f.Topic, ID: f.MessageID, Position: pubsub.Position{Epoch: epoch, Offset: m.Sequence}})
		seq = m.Sequence + 1
	}
}

// summary counts what has happened.
func (c *cluster) summary() string {
	counts := map[string]int{}
	for _, e := range c.rec.Events() {
		counts[string(e.Kind)]++
		if e.Answer != "" {
			counts[string(e.Kind)+" "+string(e.Answer)]++
		}
		if e.Kind == Subscribed && !e.Recovered {
			counts["gaps announced"]++
		}
	}
	s := fmt.Sprint(counts)
	for _, n := range c.nodes {
		s += fmt.Sprintf("\n%+v", n.now().broker.Stats())
	}
	return s
}
