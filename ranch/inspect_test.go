package ranch_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

func ids(page []conns.Info, first uint64) (all []uint64) {
	for _, i := range page {
		all = append(all, i.ID-first)
	}
	return all
}

// Connections can be chosen, sorted and paged.
func TestSelect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		l, _ := start(t, f, ranch.Options{}, answer)
		var in []*visitor
		for i := range 5 {
			v := visit(t, f, dialAddr(l)).in(t)
			for range 4 - i {
				v.works(t) // 4 bytes each way
			}
			in = append(in, v)
			time.Sleep(10 * time.Second)
		}
		in[1].works(t)
		time.Sleep(10 * time.Second)
		first := l.Connections()[0].ID
		for _, c := range []struct {
			name  string
			q     conns.Query
			want  []uint64
			total int
		}{
			{"all", conns.Query{}, []uint64{0, 1, 2, 3, 4}, 5},
			{"youngest", conns.Query{Reverse: true, Limit: 2}, []uint64{4, 3}, 5},
			{"page", conns.Query{Offset: 3, Limit: 5}, []uint64{3, 4}, 5},
			{"beyond", conns.Query{Offset: 9}, nil, 5},
			{"used last", conns.Query{Sort: conns.ByIdle}, []uint64{1, 4, 3, 2, 0}, 5},
			{"read most", conns.Query{Sort: conns.ByRead, Reverse: true, Limit: 1}, []uint64{1}, 5},
			{"written least", conns.Query{Sort: conns.ByWritten, Limit: 1}, []uint64{4}, 5},
			{"bytes", conns.Query{Sort: conns.ByBytes}, []uint64{4, 3, 2, 0, 1}, 5},
			{"matching", conns.Query{Match: func(i *conns.Info) bool { return time.Since(i.Since) > 35*time.Second }}, []uint64{0, 1, 2}, 3},
			{"idle", conns.Query{Match: func(i *conns.Info) bool { return i.Idle >= 39*time.Second }}, []uint64{0, 2}, 2},
		} {
			page, total := l.Select(c.q)
			if diff := cmp.Diff(c.want, ids(page, first)); diff != "" || total != c.total {
				t.Errorf("%s: %d in all (-want +got):\n%s", c.name, total, diff)
			}
		}
		if n := l.KillMatching(func(i *conns.Info) bool { return i.Stats.BytesRead == 0 }); n != 1 {
			t.Errorf("%d were killed", n)
		}
		active(t, l, 4)
	})
}

// ByPeer sorts as addresses do, not as strings.
func TestSortByPeer(t *testing.T) {
	l, _ := start(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0"}, answer)
	guests(t, transport.TCP{}, dialAddr(l), 20)
	page, _ := l.Select(conns.Query{Sort: conns.ByPeer})
	for i := 1; i < len(page); i++ {
		a, b := netip.MustParseAddrPort(page[i-1].RemoteAddr.String()), netip.MustParseAddrPort(page[i].RemoteAddr.String())
		if a.Compare(b) >= 0 {
			t.Errorf("%v before %v", a, b)
		}
	}
}

// The last that have ended are known, the latest first, with what became of them.
func TestEnded(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		l, rec := m.start(t, ranch.Options{KeepClosed: 3}, answer)
		for i := range 5 {
			v := m.visit(t, l).in(t)
			v.works(t)
			if i == 3 {
				l.Kill(l.Connections()[0].ID)
			} else {
				v.leave()
			}
			rec.wait(t, ranch.ConnEnded, i+1)
		}
		got := l.RecentlyClosed()
		if len(got) != 3 {
			t.Fatalf("%d are known", len(got))
		}
		for i, e := range got {
			want := conns.PeerClosed
			if i == 1 {
				want = conns.Killed
			}
			if e.Reason != want && !(i != 1 && e.Reason == conns.Failed) || !e.Served || e.Stats.BytesRead != 4 || e.State() != "closed" || e.RemoteAddr == nil {
				t.Errorf("%d: %+v", i, e)
			}
			if i > 0 && e.ID >= got[i-1].ID {
				t.Errorf("%d ended after %d", e.ID, got[i-1].ID)
			}
		}
	})
}

func TestEndedNobody(t *testing.T) {
	l, rec := start(t, new(fake), ranch.Options{KeepClosed: -1}, greetAs('x'))
	l2, err := l.Connection(1)
	if err {
		t.Errorf("there is %+v", l2)
	}
	if got := l.RecentlyClosed(); len(got) != 0 || rec.count(ranch.ConnEnded) != 0 {
		t.Errorf("%+v", got)
	}
}

// A connection says what it is over TLS.
func TestInfoOfTLS(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		l, _ := m.start(t, ranch.Options{}, answer)
		m.guests(t, l, 1)
		i := l.Connections()[0]
		if secure := m.t.Secure(); secure != (i.TLS != nil) || secure && i.TLS.Version != "TLS 1.3" {
			t.Errorf("%+v", i.TLS)
		}
		if i.State() != "serving" || i.ProtocolName() != "protocol.Func" {
			t.Errorf("%v, %s", i.State(), i.ProtocolName())
		}
	})
}

// locked is a buffer for several writers.
type locked struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *locked) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *locked) lines(t testing.TB) (all []map[string]any) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for d := json.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		var line map[string]any
		if err := d.Decode(&line); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
}

// Live connections can be traced, those that are chosen and no others, and it ends.
func TestTrace(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		l, _ := m.start(t, ranch.Options{}, answer)
		in := m.guests(t, l, 2)
		eventually(t, "the greetings are counted, and so no event any more", func() bool {
			all := l.Connections()
			return all[0].Stats.Writes == 1 && all[1].Stats.Writes == 1
		})
		var out locked
		log := slog.New(slog.NewJSONHandler(&out, nil))
		id := l.Connections()[0].ID
		stop := l.Trace(conns.Trace{ID: id, Func: ranch.LogTracer(log, 2)})
		for _, v := range in {
			v.works(t)
		}
		eventually(t, "both directions are traced", func() bool { return len(out.lines(t)) >= 2 })
		for i, line := range out.lines(t) {
			if line["conn"] != float64(id) || line["op"] != []string{"read", "write"}[i] || line["bytes"] != 4.0 || line["data"] != "7069" {
				t.Errorf("%v", line)
			}
		}
		stop()
		stop()
		for _, v := range in {
			v.works(t)
		}
		if n := len(out.lines(t)); n != 2 {
			t.Errorf("%d lines after it ended", n)
		}
	})
}

// Those that come are traced too, by their address; several traces do not disturb each other.
func TestTraceByNetwork(t *testing.T) {
	if !canBind("127.0.0.2") {
		t.Skip("SKIPPED: this system has one loopback address; on macOS: sudo ifconfig lo0 alias 127.0.0.2")
	}
	var s ranch.Server
	l, _, err := tryStart(t, &s, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0"}, answer)
	if err != nil {
		t.Fatal(err)
	}
	var chosen, all locked
	tracer := func(b *locked) transport.Tracer { return ranch.LogTracer(slog.New(slog.NewJSONHandler(b, nil)), 0) }
	defer l.Trace(conns.Trace{Network: netip.MustParsePrefix("127.0.0.2/32"), Func: tracer(&chosen)})()
	defer l.Trace(conns.Trace{Func: tracer(&all)})()
	a, b := from(t, l, "127.0.0.2"), from(t, l, "127.0.0.1")
	if !served(a) || !served(b) {
		t.Fatal("not served")
	}
	eventually(t, "both are traced", func() bool { return len(all.lines(t)) == 2 })
	if got := chosen.lines(t); len(got) != 1 || !strings.HasPrefix(got[0]["peer"].(string), "127.0.0.2:") || got[0]["data"] != nil {
		t.Errorf("%v", got)
	}
}
