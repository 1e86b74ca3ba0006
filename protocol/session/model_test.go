package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"goranch/protocol/session"
)

const (
	modelTTL    = time.Minute
	modelMax    = 4
	modelOutput = 10
)

// modelSession is the expected state of a session.
type modelSession struct {
	id       string
	holder   *client // nil: detached
	bound    *session.Session[state]
	stale    []*session.Session[state]
	unbound  *session.Session[state]
	detached time.Time
	gen      uint64
	n        int
	kept     []string
	lost     int
	want     map[*client][]string
	wantLost map[*client]int
}

func (p *modelSession) overdue() bool {
	return p.holder == nil && time.Since(p.detached) >= modelTTL
}

func (p *modelSession) output(s string) {
	if s == "" {
		return
	}
	if p.holder != nil {
		p.want[p.holder] = append(p.want[p.holder], s)
		return
	}
	p.kept = append(p.kept, s)
	size := 0
	for _, k := range p.kept {
		size += len(k)
	}
	for size > modelOutput {
		size -= len(p.kept[0])
		p.lost += len(p.kept[0])
		p.kept = p.kept[1:]
	}
}

type model struct {
	m     *session.Manager[state]
	store *memStore
	alive []*modelSession // not ended; some may have expired
	ended []*modelSession
	count int // of pieces, so that all differ
}

func (w *model) pick(t *rapid.T) *modelSession {
	if len(w.alive) == 0 {
		t.Skip("no session")
	}
	return w.alive[rapid.IntRange(0, len(w.alive)-1).Draw(t, "session")]
}

func (w *model) expire() {
	for i := 0; i < len(w.alive); {
		if !w.alive[i].overdue() {
			i++
			continue
		}
		w.markEnded(w.alive[i])
	}
}

func (w *model) markEnded(p *modelSession) {
	for i, q := range w.alive {
		if p == q {
			w.alive = append(w.alive[:i:i], w.alive[i+1:]...)
			w.ended = append(w.ended, p)
			return
		}
	}
}

func (w *model) create(t *rapid.T) {
	w.expire()
	c := newClient()
	s, err := w.m.Create(context.Background(), addr(1), c, state{})
	if len(w.alive) >= modelMax {
		if !errors.Is(err, session.ErrTooMany) {
			t.Fatalf("got error %v, want %v", err, session.ErrTooMany)
		}
		return
	}
	wantErr(t, err, nil)
	w.alive = append(w.alive, &modelSession{id: s.ID(), holder: c, bound: s, unbound: s.Unbound(), gen: 1,
		want: map[*client][]string{c: nil}, wantLost: map[*client]int{c: 0}})
}

func (w *model) attach(t *rapid.T) {
	w.expire()
	p, c := w.pick(t), newClient()
	s, err := w.m.Attach(context.Background(), p.id, nil, c)
	wantErr(t, err, nil)
	if before := p.holder; before != nil {
		<-before.revoked
		p.stale = append(p.stale, p.bound)
	}
	p.gen++
	p.holder, p.bound = c, s
	p.want[c], p.wantLost[c] = p.kept, p.lost
	p.kept, p.lost = nil, 0
}

func (w *model) detach(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	if p.holder == nil {
		wantErr(t, p.bound.Detach(), session.ErrStale)
		return
	}
	wantErr(t, p.bound.Detach(), nil)
	p.holder, p.detached = nil, time.Now()
}

func (w *model) output(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	w.count++
	s := fmt.Sprintf("%.*d", rapid.IntRange(1, modelOutput+2).Draw(t, "length"), w.count)
	if rapid.Bool().Draw(t, "bound handle") {
		err := p.bound.Output([]byte(s))
		if p.holder == nil {
			wantErr(t, err, session.ErrStale)
			return
		}
		wantErr(t, err, nil)
	} else {
		wantErr(t, p.unbound.Output([]byte(s)), nil)
	}
	p.output(s)
}

func (w *model) change(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	wantErr(t, p.unbound.Do(func(s *state) { s.N++ }), nil)
	p.n++
}

func (w *model) end(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	if p.holder != nil && rapid.Bool().Draw(t, "bound handle") {
		wantErr(t, p.bound.End(), nil)
	} else {
		wantErr(t, w.m.End(p.id), nil)
	}
	w.markEnded(p)
}

func (w *model) pass(t *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, 100 * time.Millisecond, 20 * time.Second, modelTTL, 2 * modelTTL}).Draw(t, "time"))
}

// restart closes the manager and opens another one on the same Store.
func (w *model) restart(t *rapid.T) {
	w.expire()
	wantErr(t, w.m.Close(context.Background()), nil)
	w.open(t)
	for _, p := range w.alive {
		if p.holder != nil {
			p.holder, p.detached = nil, time.Now()
		}
		wantErr(t, p.bound.Output([]byte("x")), session.ErrClosed)
		p.kept, p.lost = nil, 0
		s, err := w.m.Attach(context.Background(), p.id, nil, newClient())
		wantErr(t, err, nil)
		wantErr(t, s.Detach(), nil)
		p.gen++
		p.detached, p.bound, p.unbound, p.stale = time.Now(), s, s.Unbound(), nil
	}
	w.ended = nil
}

func (w *model) open(t *rapid.T) {
	var err error
	w.m, err = session.New(session.Options[state]{TTL: modelTTL, Max: modelMax, MaxOutput: modelOutput, Store: w.store})
	wantErr(t, err, nil)
}

// check compares the manager with the model.
func (w *model) check(t *rapid.T) {
	w.expire()
	infos := map[string]session.Info{}
	for _, i := range w.m.List() {
		infos[i.ID] = i
	}
	if len(infos) != len(w.alive) {
		t.Fatalf("List: got %d sessions, want %d", len(infos), len(w.alive))
	}
	for _, p := range append(w.alive, w.ended...) {
		for c, want := range p.want {
			if diff := cmp.Diff(append([]string{}, want...), c.pieces()); diff != "" {
				t.Fatalf("output (-want +got):\n%s", diff)
			}
			if c.lost != p.wantLost[c] {
				t.Fatalf("got %d bytes lost, want %d", c.lost, p.wantLost[c])
			}
		}
	}
	for _, p := range w.alive {
		size := 0
		for _, k := range p.kept {
			size += len(k)
		}
		if i := infos[p.id]; i.Attached != (p.holder != nil) || i.Generation != p.gen || i.Buffered != size {
			t.Fatalf("got %+v, want generation %d, attached %v, %d bytes buffered", i, p.gen, p.holder != nil, size)
		}
		wantErr(t, p.unbound.View(func(s *state) {
			if s.N != p.n {
				t.Fatalf("got state %d, want %d", s.N, p.n)
			}
		}), nil)
		for _, l := range p.stale {
			wantErr(t, l.Output([]byte("x")), session.ErrStale)
		}
	}
	for _, p := range w.ended {
		_, err := w.m.Attach(context.Background(), p.id, nil, newClient())
		wantErr(t, err, session.ErrUnknown)
	}
}

func wantErr(t *rapid.T, got, want error) {
	t.Helper()
	if got != want {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

// The manager behaves like a simple model of it under random operations.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctestCheck(t, rt, func() {
			w := &model{store: newMemStore()}
			w.open(rt)
			defer func() { w.m.Close(context.Background()) }()
			rt.Repeat(map[string]func(*rapid.T){
				"create": w.create, "attach": w.attach, "detach": w.detach, "output": w.output, "output 2": w.output,
				"change": w.change, "end": w.end, "pass": w.pass, "restart": w.restart, "": w.check,
			})
		})
	})
}

// synctestCheck runs f in a synctest bubble. rapid ends a check by a panic, which is passed on to
// the caller.
func synctestCheck(t *testing.T, rt *rapid.T, f func()) {
	var ended any
	synctest.Test(t, func(*testing.T) {
		defer func() { ended = recover() }()
		f()
	})
	if ended != nil {
		panic(ended)
	}
}
