package session_test

import (
	"context"
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

// plain is a session as simple as can be.
type plain struct {
	id       string
	holder   *client // nil: detached
	lease    *session.Lease[state]
	stale    []*session.Lease[state]
	handle   *session.Session[state]
	detached time.Time
	gen      uint64
	n        int
	kept     []string
	lost     int
	want     map[*client][]string
	wantLost map[*client][]int
}

func (p *plain) overdue() bool {
	return p.holder == nil && time.Since(p.detached) >= modelTTL
}

func (p *plain) output(s string) {
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
	disk  *disk
	all   []*plain // those that have not ended; some may have expired
	over  []*plain
	count int // of pieces, so that no two are the same
}

func (w *model) pick(t *rapid.T) *plain {
	if len(w.all) == 0 {
		t.Skip("none")
	}
	return w.all[rapid.IntRange(0, len(w.all)-1).Draw(t, "session")]
}

func (w *model) expire() {
	for i := 0; i < len(w.all); {
		if !w.all[i].overdue() {
			i++
			continue
		}
		w.gone(w.all[i])
	}
}

func (w *model) gone(p *plain) {
	for i, q := range w.all {
		if p == q {
			w.all = append(w.all[:i:i], w.all[i+1:]...)
			w.over = append(w.over, p)
			return
		}
	}
}

func (w *model) create(t *rapid.T) {
	w.expire()
	c := newClient()
	l, err := w.m.Create(context.Background(), addr(1), c, state{})
	if len(w.all) >= modelMax {
		expect(t, err, session.ErrTooMany)
		return
	}
	expect(t, err, nil)
	w.all = append(w.all, &plain{id: l.ID(), holder: c, lease: l, handle: l.Session(), gen: 1,
		want: map[*client][]string{c: nil}, wantLost: map[*client][]int{c: nil}})
}

func (w *model) attach(t *rapid.T) {
	w.expire()
	p, c := w.pick(t), newClient()
	l, err := w.m.Attach(context.Background(), p.id, nil, c)
	expect(t, err, nil)
	if before := p.holder; before != nil {
		<-before.taken
		p.stale = append(p.stale, p.lease)
	}
	p.gen++
	p.holder, p.lease = c, l
	p.want[c], p.wantLost[c] = p.kept, []int{p.lost}
	p.kept, p.lost = nil, 0
}

func (w *model) detach(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	if p.holder == nil {
		expect(t, p.lease.Detach(), session.ErrStale)
		return
	}
	expect(t, p.lease.Detach(), nil)
	p.holder, p.detached = nil, time.Now()
}

func (w *model) output(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	w.count++
	s := fmt.Sprintf("%.*d", rapid.IntRange(1, modelOutput+2).Draw(t, "length"), w.count)
	if rapid.Bool().Draw(t, "through the lease") {
		err := p.lease.Output([]byte(s))
		if p.holder == nil {
			expect(t, err, session.ErrStale)
			return
		}
		expect(t, err, nil)
	} else {
		expect(t, p.handle.Output([]byte(s)), nil)
	}
	p.output(s)
}

func (w *model) change(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	expect(t, p.handle.Do(func(s *state) { s.N++ }), nil)
	p.n++
}

func (w *model) end(t *rapid.T) {
	w.expire()
	p := w.pick(t)
	if p.holder != nil && rapid.Bool().Draw(t, "through the lease") {
		expect(t, p.lease.End(), nil)
	} else {
		expect(t, w.m.End(p.id), nil)
	}
	w.gone(p)
}

func (w *model) pass(t *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, 100 * time.Millisecond, 20 * time.Second, modelTTL, 2 * modelTTL}).Draw(t, "time"))
}

// restart ends the process in order.
func (w *model) restart(t *rapid.T) {
	w.expire()
	expect(t, w.m.Close(context.Background()), nil)
	w.begin(t)
	for _, p := range w.all {
		if p.holder != nil {
			p.holder, p.detached = nil, time.Now()
		}
		expect(t, p.lease.Output([]byte("x")), session.ErrClosed)
		p.kept, p.lost = nil, 0
		l, err := w.m.Attach(context.Background(), p.id, nil, newClient())
		expect(t, err, nil)
		expect(t, l.Detach(), nil)
		p.gen++
		p.detached, p.lease, p.handle, p.stale = time.Now(), l, l.Session(), nil
	}
	w.over = nil
}

func (w *model) begin(t *rapid.T) {
	var err error
	w.m, err = session.New(session.Options[state]{TTL: modelTTL, Max: modelMax, MaxOutput: modelOutput, Store: w.disk})
	expect(t, err, nil)
}

// check compares everything that can be seen.
func (w *model) check(t *rapid.T) {
	w.expire()
	infos := map[string]session.Info{}
	for _, i := range w.m.List() {
		infos[i.ID] = i
	}
	if len(infos) != len(w.all) {
		t.Fatalf("%d sessions, want %d", len(infos), len(w.all))
	}
	for _, p := range append(w.all, w.over...) {
		for c, want := range p.want {
			if diff := cmp.Diff(append([]string{}, want...), c.pieces()); diff != "" {
				t.Fatal("output:", diff)
			}
			if diff := cmp.Diff(p.wantLost[c], c.lost); diff != "" {
				t.Fatal("lost:", diff)
			}
		}
	}
	for _, p := range w.all {
		size := 0
		for _, k := range p.kept {
			size += len(k)
		}
		if i := infos[p.id]; i.Attached != (p.holder != nil) || i.Generation != p.gen || i.Buffered != size {
			t.Fatalf("%+v, want generation %d, attached %v, %d bytes", i, p.gen, p.holder != nil, size)
		}
		expect(t, p.handle.View(func(s *state) {
			if s.N != p.n {
				t.Fatalf("state %d, want %d", s.N, p.n)
			}
		}), nil)
		for _, l := range p.stale {
			expect(t, l.Output([]byte("x")), session.ErrStale)
		}
	}
	for _, p := range w.over {
		_, err := w.m.Attach(context.Background(), p.id, nil, newClient())
		expect(t, err, session.ErrUnknown)
	}
}

func expect(t *rapid.T, got, want error) {
	t.Helper()
	if got != want {
		t.Fatalf("%v, want %v", got, want)
	}
}

// Sessions are as a plain model of them, whatever is done in whatever order.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctestCheck(t, rt, func() {
			w := &model{disk: newDisk()}
			w.begin(rt)
			defer func() { w.m.Close(context.Background()) }()
			rt.Repeat(map[string]func(*rapid.T){
				"create": w.create, "attach": w.attach, "detach": w.detach, "output": w.output, "output again": w.output,
				"change": w.change, "end": w.end, "pass": w.pass, "restart": w.restart, "": w.check,
			})
		})
	})
}

// synctestCheck runs f in a bubble, and carries rapid's way to end a test out of it.
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
