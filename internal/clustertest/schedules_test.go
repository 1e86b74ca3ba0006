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

	"github.com/nats-io/nats.go"
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

// natsServerLeak is a goroutine that nats-server leaves when it stops while it creates a stream. It
// happens once in about a thousand schedules.
const natsServerLeak = "github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"

func TestMain(m *testing.M) {
	shortenTimes()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(natsServerLeak))
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
			unit := 50 * time.Millisecond
			if seed%8 == 1 { // longer than a node waits for another one
				unit = 400 * time.Millisecond
			}
			t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { runSchedule(t, NewSchedule(seed, unit)) })
		})
	}
	wg.Wait()
}

func runSchedule(t *testing.T, s Schedule) {
	var phases phases
	phases.begin("start")
	c := newCluster(t, s)
	defer func() {
		if t.Failed() {
			t.Errorf("%s\n%vreplay: go test ./internal/clustertest -run Schedules -schedules 1 -seed %d -verbose", c.summary(), s, s.Seed)
		}
	}()
	if t.Failed() {
		return
	}
	c.createSession()
	c.createSession()
	phases.begin("faults")
	working := c.start(s.Seed)
	for k, id := range c.sessions {
		c.publishers.Go(func() { c.useSession(working, id, rand.New(rand.NewPCG(s.Seed, uint64(200+k)))) })
	}
	c.run()
	phases.begin("repair")
	c.waitReady()
	c.waitFor("space in the bucket", func() bool {
		return !s.Has(FullBucket) || c.limitBucket(bucketSize) == nil
	})
	phases.begin("last messages")
	c.finish(s.Seed)
	phases.begin("last sessions")
	c.finishSessions()
	phases.begin("stream")
	c.recordStream()
	phases.begin("presence")
	if s.Seed%5 == 1 {
		c.checkPresence()
	}
	phases.begin("end")
	c.end()
	violations := Check(c.rec.Events(), Limits{Keep: s.Keep, SessionsLost: s.Has(DeleteSessions), Restarted: s.Has(Kill, Wipe, Engine)})
	if len(violations) > 0 {
		t.Errorf("got %d violations, want none:\n%s", len(violations), Describe(violations, c.rec.Events()))
	}
	if *verbose {
		t.Log(c.summary())
		t.Log(&phases)
	}
}

// phases measures the parts of a schedule, to find out what takes its time.
type phases struct {
	began time.Time
	text  []string
	name  string
}

func (p *phases) begin(name string) {
	if p.name != "" {
		p.text = append(p.text, fmt.Sprintf("%s %.1fs", p.name, time.Since(p.began).Seconds()))
	}
	p.name, p.began = name, time.Now()
}

func (p *phases) String() string { p.begin(""); return "times: " + strings.Join(p.text, ", ") }

// finishSessions waits until each session has one client. A takeover that was given up may still
// revoke the client of the last use, which then uses the session again.
func (c *cluster) finishSessions() {
	r, deleted := rand.New(rand.NewPCG(c.schedule.Seed, 301)), c.schedule.Has(DeleteSessions)
	for _, id := range c.sessions {
		use := func() bool {
			return c.use(c.nodes[r.IntN(3)], id, fmt.Sprint("last", c.rec.Now()), false) || deleted
		}
		if !c.waitFor("use of a session", use) || deleted {
			continue
		}
		uses := 1
		ok := c.waitFor("one client of a session", func() bool {
			held := len(c.holding(id))
			if held == 0 {
				uses++
				use()
			}
			return held == 1
		})
		if !ok || uses > 1 {
			c.t.Logf("session %s was used %d times at the end, and has %d clients", id, uses, len(c.holding(id)))
		}
		c.rec.Add(Event{Kind: Holds, Session: id})
	}
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

// checkPresence kills a node: only subscribers, and detached sessions, of the others are counted.
func (c *cluster) checkPresence() {
	topic, want, got := topicNames[0], 0, 0
	began := time.Now()
	c.nodes[2].kill()
	c.waitFor("presence without the killed node", func() bool {
		w, err := c.nodes[0].dial(context.Background())
		if err != nil {
			return false
		}
		defer w.Close()
		got, err = w.Presence(topic)
		want = c.nodes[0].now().topics.Subscribers(topic) + c.nodes[1].now().topics.Subscribers(topic)
		return err == nil && got == want
	})
	if took := time.Since(began); took > 15*time.Second {
		c.t.Errorf("presence: got %d after %v, want %d within 15 s", got, took, want)
	}
}

// recordStream records what the stream has, as its leader knows it.
func (c *cluster) recordStream() {
	var last error
	ok := c.waitFor("content of the stream", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var all []Event
		if all, last = c.streamNow(ctx); last != nil {
			return false
		}
		for _, e := range all {
			c.rec.Add(e)
		}
		return true
	})
	if !ok {
		c.t.Error(last)
	}
}

// streamNow returns the messages of the stream. It fails if a former leader has answered.
func (c *cluster) streamNow(ctx context.Context) ([]Event, error) {
	js, err := c.js()
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, topicStream)
	if err != nil {
		return nil, err
	}
	var last uint64 // of the acknowledged messages
	epoch := c.nodes[0].now().broker.Stats().Epoch
	for _, e := range c.rec.Events() {
		if e.Kind == Published && e.Position.Epoch == epoch {
			last = max(last, e.Position.Offset)
		}
	}
	info := s.CachedInfo().State
	if info.LastSeq < last {
		return nil, fmt.Errorf("the stream has %d messages, want %d", info.LastSeq, last)
	}
	return readStream(ctx, js.Conn(), epoch, info)
}

// readStream returns the messages of the stream. Unlike direct gets, its requests are answered by
// the leader.
func readStream(ctx context.Context, nc *nats.Conn, epoch string, info jetstream.StreamState) (all []Event, err error) {
	for seq := info.FirstSeq; seq <= info.LastSeq; {
		m, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+topicStream, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":">"}`, seq))
		if err != nil {
			return nil, err
		}
		var r struct {
			Message *struct {
				Seq  uint64 `json:"seq"`
				Data []byte `json:"data"`
			} `json:"message"`
		}
		if err := json.Unmarshal(m.Data, &r); err != nil || r.Message == nil || len(r.Message.Data) == 0 {
			return nil, fmt.Errorf("message %d: %s, %v", seq, m.Data, err)
		}
		var f frame
		if err := json.Unmarshal(r.Message.Data[:len(r.Message.Data)-1], &f); err != nil {
			return nil, err
		}
		all = append(all, Event{Kind: Stored, Topic: *f.Topic, ID: f.MessageID, Position: pubsub.Position{Epoch: epoch, Offset: r.Message.Seq}})
		seq = r.Message.Seq + 1
	}
	return all, nil
}

// summary counts what has happened.
func (c *cluster) summary() string {
	s := Summary(c.rec.Events())
	for _, n := range c.nodes {
		if r := n.now(); r != nil { // checkPresence leaves one killed
			s += fmt.Sprintf("\n%s: %+v, degraded: %v", n.name, r.broker.Stats(), r.topics.Degraded())
		}
	}
	return s
}
