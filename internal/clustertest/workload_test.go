package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/protocol/pubsub"
)

// workload is the clients of the topics of three nodes.
type workload struct {
	t    testing.TB
	rec  *Recorder
	dial func(ctx context.Context, node int) (*Wire, error)
	wait time.Duration // of publishers for an answer

	publishers, subscribers sync.WaitGroup
	stop, detach            context.CancelFunc

	mu    sync.Mutex
	moves map[int]context.CancelFunc // of attachments
	live  map[int]string             // topics of attachments
}

func newWorkload(t testing.TB, wait time.Duration) *workload {
	return &workload{t: t, rec: NewRecorder(), wait: wait, moves: map[int]context.CancelFunc{}, live: map[int]string{}}
}

// start starts the clients. It returns a context that ends with the publishers.
func (c *workload) start(seed uint64) context.Context {
	working, stop := context.WithCancel(context.Background())
	attached, detach := context.WithCancel(context.Background())
	c.stop, c.detach = stop, detach
	random := func(k int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(k))) }
	for k, topic := range topicNames {
		for i := range subscribersEach {
			c.subscribers.Go(func() { c.subscribe(attached, topic, false, random(10*k+i)) })
		}
		c.subscribers.Go(func() { c.subscribe(attached, topic, true, random(10*k+9)) })
	}
	for k := range 3 {
		c.publishers.Go(func() { c.publish(working, fmt.Sprint("p", k), random(100+k)) })
	}
	return working
}

// finish ends the publishers, publishes a last message to each topic, and waits until all
// attachments have received it.
func (c *workload) finish(seed uint64) {
	c.stop()
	c.publishers.Wait()
	r := rand.New(rand.NewPCG(seed, 300))
	for _, topic := range topicNames {
		c.publishLast(topic, r)
	}
	c.waitFor("last messages at all attachments", c.complete)
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, topic := range c.live {
		c.rec.Add(Event{Kind: Attached, Attachment: at, Topic: topic})
	}
}

// end ends the subscribers.
func (c *workload) end() {
	c.detach()
	c.subscribers.Wait()
}

// move ends all connections of subscribers.
func (c *workload) move() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.moves {
		cancel()
	}
}

func (c *workload) logf(format string, args ...any) {
	if *verbose {
		c.t.Logf("%7.3fs %s", c.rec.Now().Seconds(), fmt.Sprintf(format, args...))
	}
}

// waitFor reports an error after a minute.
func (c *workload) waitFor(what string, cond func() bool) bool {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Errorf("%s: got none within a minute, want it", what)
			return false
		}
	}
	return true
}

const subscribersEach = 2 // with positions, of each topic

var topicNames = []string{"a", "b.c", "d * >e"}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// publish publishes messages until ctx ends; then the last one until it is accepted, if it has a
// key.
func (c *workload) publish(ctx context.Context, name string, r *rand.Rand) {
	var w *Wire
	n := r.IntN(3)
	for k := 0; ctx.Err() == nil; k++ {
		topic, id, keyed := topicNames[r.IntN(3)], fmt.Sprintf("%s-%d", name, k), r.IntN(8) > 0
		for try := 0; try == 0 || keyed && try < 1000; try++ {
			if w == nil {
				var err error
				if w, err = c.dial(context.Background(), n); err != nil {
					n = r.IntN(3)
					time.Sleep(10 * time.Millisecond)
					continue
				}
			}
			answer := w.Publish(c.rec, topic, id, keyed, c.wait)
			if answer == Accepted {
				break
			}
			if answer == Unknown || r.IntN(4) == 0 {
				w.Close()
				w, n = nil, r.IntN(3)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if w != nil && r.IntN(40) == 0 {
			w.Close()
			w, n = nil, r.IntN(3)
		}
		pause(ctx, time.Duration(r.IntN(12))*time.Millisecond)
	}
	if w != nil {
		w.Close()
	}
}

// subscribe subscribes to a topic until ctx ends, at one node after the other.
func (c *workload) subscribe(ctx context.Context, topic string, plain bool, r *rand.Rand) {
	since := new(pubsub.Position)
	for ctx.Err() == nil {
		n := r.IntN(3)
		w, err := c.dial(ctx, n)
		if err != nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		at := c.rec.NewAttachment()
		attached, cancel := context.WithCancel(ctx)
		c.mu.Lock()
		c.moves[at] = cancel
		if !plain {
			c.live[at] = topic
		}
		c.mu.Unlock()
		asked := since
		if plain {
			asked = nil
		}
		err = w.Subscribe(attached, c.rec, fmt.Sprint("n", n), topic, at, asked)
		w.Close()
		if errors.Is(err, errAnswer) && !strings.Contains(err.Error(), "unavailable:") {
			c.t.Errorf("subscribe: got %v, want no error", err)
		}
		if errors.Is(err, errAnswer) { // refused; clients wait longer each time
			pause(attached, 10*time.Millisecond)
		}
		cancel()
		c.mu.Lock()
		delete(c.moves, at)
		if ctx.Err() == nil {
			delete(c.live, at)
		}
		c.mu.Unlock()
	}
}

func (c *workload) publishLast(topic string, r *rand.Rand) {
	c.waitFor("acknowledgement of the last message", func() bool {
		w, err := c.dial(context.Background(), r.IntN(3))
		if err != nil {
			return false
		}
		defer w.Close()
		return w.Publish(c.rec, topic, "last "+topic, true, 6*time.Second) == Accepted
	})
}

// complete reports whether all attachments have received the last message of their topic.
func (c *workload) complete() bool {
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
	return len(c.live) == subscribersEach*len(topicNames)
}
