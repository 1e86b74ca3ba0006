package conns_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/conns"
)

// remoteConn is a connection from some address.
type remoteConn struct {
	*stub
	remote net.Addr
}

func (c remoteConn) RemoteAddr() net.Addr { return c.remote }

func TestSources(t *testing.T) {
	h := newHarness(t, 100, 0)
	for _, addr := range []string{
		"192.0.2.2:1", "192.0.2.1:1", "192.0.2.1:2", "[::ffff:192.0.2.1]:3",
		"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1",
	} {
		remote, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		h.start(fake{plain: true}, remoteConn{newStub(), remote}, readAll)
	}
	h.start(fake{plain: true}, remoteConn{newStub(), &net.UnixAddr{Net: "unix"}}, readAll)
	source := func(prefix string, n int) conns.Source {
		return conns.Source{Prefix: netip.MustParsePrefix(prefix), Connections: n}
	}
	all := []conns.Source{ // the one without a prefix is that of the Unix socket
		source("192.0.2.1/32", 3), source("2001:db8::/64", 2), {Connections: 1}, source("192.0.2.2/32", 1), source("2001:db8:0:1::/64", 1),
	}
	for n, want := range map[int][]conns.Source{0: all, -1: all, 1: all[:1], 3: all[:3], 100: all} {
		if diff := cmp.Diff(want, h.sup.Sources(conns.Query{Limit: n}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("the first %d (-want +got):\n%s", n, diff)
		}
	}
	remote := func(i *conns.Info) bool { return i.RemoteAddr.String() == "192.0.2.1:2" }
	if got, want := h.sup.Sources(conns.Query{Match: remote}), all[:1]; len(got) != 1 || got[0].Prefix != want[0].Prefix || got[0].Connections != 1 {
		t.Errorf("with Match: got %v, want one connection of %v", got, want[0].Prefix)
	}
	h.close()
	if got := h.sup.Sources(conns.Query{}); len(got) != 0 {
		t.Errorf("without connections: got %v, want none", got)
	}
}
