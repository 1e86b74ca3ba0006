package clustertest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/session"
)

// holder is a client of a session.
type holder struct {
	session string
	n       *node
	life    int
	gone    atomic.Bool // revoked or detached
}

func (h *holder) Deliver([]byte, int) error { return nil }
func (h *holder) Revoked(net.Addr, error)   { h.gone.Store(true) }

// holds reports whether the client still has the session.
func (h *holder) holds() bool {
	r := h.n.now()
	return !h.gone.Load() && r != nil && r.life == h.life
}

// createSession makes a session that is moved later.
func (c *cluster) createSession() {
	n := c.nodes[len(c.sessions)%3]
	c.waitFor("session", func() bool {
		h := &holder{n: n, life: n.now().life}
		s, err := n.now().manager().Create(context.Background(), nil, h, state{})
		if err != nil {
			return false
		}
		h.session = s.ID()
		c.holders, c.sessions = append(c.holders, h), append(c.sessions, s.ID())
		return true
	})
}

// use attaches to a session at a node, changes it, and reports whether that was acknowledged.
func (c *cluster) use(n *node, id, token string, detach bool) bool {
	r := n.now()
	m := r.manager()
	if m == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(r.ctx, 3*time.Second)
	defer cancel()
	h := &holder{session: id, n: n, life: r.life}
	read := Event{Kind: Read, Session: id, Node: n.name, Begin: c.rec.Now()}
	s, err := m.Attach(ctx, id, nil, h)
	if err != nil {
		if errors.Is(err, session.ErrUnknown) && !c.schedule.Has(DeleteSessions) {
			c.t.Errorf("Attach at node %d: got %v, want a session", n.i, err)
		}
		return false
	}
	c.mu.Lock()
	c.holders = append(c.holders, h)
	c.mu.Unlock()
	wrote := Event{Kind: Wrote, Session: id, Node: n.name, Begin: c.rec.Now(), Answer: Unknown}
	err = s.Do(func(st *state) {
		read.Log = append([]string(nil), st.Log...)
		st.Log = append(st.Log, token)
		wrote.Log = append([]string(nil), st.Log...)
	})
	if err != nil {
		return false
	}
	if err = s.Sync(ctx); err == nil {
		wrote.Answer = Accepted
		c.rec.Add(read)
	}
	c.rec.Add(wrote)
	if detach && s.Detach() == nil {
		h.gone.Store(true)
	}
	return err == nil
}

// useSession uses a session at one node after the other.
func (c *cluster) useSession(ctx context.Context, id string, r *rand.Rand) {
	for k := 0; ctx.Err() == nil; k++ {
		c.use(c.nodes[r.IntN(3)], id, fmt.Sprint(id[:4], "-", k), r.IntN(2) == 0)
		pause(ctx, time.Duration(r.IntN(40))*time.Millisecond)
	}
}

// claim makes all nodes use each session at once.
func (c *cluster) claim() {
	c.mu.Lock()
	ids := c.sessions
	c.mu.Unlock()
	for _, id := range ids {
		for _, n := range c.nodes {
			token := fmt.Sprintf("claim-%d-%d", n.i, c.rec.Now())
			c.pending.Go(func() { c.use(n, id, token, false) })
		}
	}
}

// oldRecord stores a record that no node can read; nodes refuse the session.
func (c *cluster) oldRecord() {
	id := fmt.Sprint("old", c.rec.Now())
	sum := sha256.Sum256([]byte(id))
	c.api(func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Publish(ctx, "$KV.sessions."+base64.RawURLEncoding.EncodeToString(sum[:]), []byte(`{"v":0}`))
		return err
	})
	for _, n := range c.nodes {
		c.pending.Go(func() {
			if r := n.now(); r.manager() != nil {
				ctx, cancel := context.WithTimeout(r.ctx, 3*time.Second)
				defer cancel()
				if _, err := r.manager().Attach(ctx, id, nil, &holder{}); err == nil {
					c.t.Errorf("Attach to an old record: got no error, want one")
				}
			}
		})
	}
}
