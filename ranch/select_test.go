package ranch_test

import (
	"net/netip"
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

// Select filters, sorts and pages.
func TestSelect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, _ := startListener(t, f, ranch.Options{}, greetAndEcho)
		var in []*client
		for i := range 5 {
			v := newClient(t, f, dialAddr(l)).waitServed(t)
			for range 4 - i {
				v.checkEcho(t) // 4 bytes each way
			}
			in = append(in, v)
			time.Sleep(10 * time.Second)
		}
		in[1].checkEcho(t)
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
				t.Errorf("%s: got %d in all, want %d (-want +got):\n%s", c.name, total, c.total, diff)
			}
		}
		if n := l.Kill(conns.Query{Match: func(i *conns.Info) bool { return i.Stats.BytesRead == 0 }}); n != 1 {
			t.Errorf("KillMatching: got %d, want 1", n)
		}
		waitActive(t, l, 4)
	})
}

// ByPeer sorts as addresses, not as strings.
func TestSortByPeer(t *testing.T) {
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0"}, greetAndEcho)
	servedClients(t, transport.TCP{}, dialAddr(l), 20)
	page, _ := l.Select(conns.Query{Sort: conns.ByPeer})
	for i := 1; i < len(page); i++ {
		a, b := netip.MustParseAddrPort(page[i-1].RemoteAddr.String()), netip.MustParseAddrPort(page[i].RemoteAddr.String())
		if a.Compare(b) >= 0 {
			t.Errorf("got %v before %v", a, b)
		}
	}
}
