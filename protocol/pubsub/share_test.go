package pubsub_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"goranch/protocol/pubsub"
	"goranch/transport"
)

// addressed is a connection with another remote address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// clientFrom is client for a client with that address.
func (srv *testServer) clientFrom(ip string) *testClient {
	srv.t.Helper()
	nc, remote := net.Pipe()
	conn := transport.NewConn(new(transport.Mem), addressed{remote, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		srv.Serve(context.Background(), conn)
		conn.Close()
	}()
	srv.t.Cleanup(func() { nc.Close(); <-ended })
	c := &testClient{t: srv.t, nc: nc}
	m := greeting.FindStringSubmatch(c.frame())
	if m == nil {
		srv.t.Fatal("got no greeting")
	}
	c.token = m[1]
	return c
}

// fill subscribes until the server refuses, and returns the number of subscriptions and the error.
func (c *testClient) fill(names []string) (n int, refusal string) {
	for _, name := range names {
		c.request("subscribe", name)
		if f := c.frame(); f != "ACK" {
			return n, f
		}
		n++
	}
	return n, ""
}

// rarePatterns returns n patterns with as many arrangements of wildcards.
func rarePatterns(n int) (names []string) {
	for i := range n {
		var b strings.Builder
		for bit := range 10 {
			b.WriteString([]string{"a.", "*."}[(i+3)>>bit&1])
		}
		if name := b.String() + "*.*"; strings.Count(name, "*") > 2 {
			names = append(names, name)
		}
	}
	return names
}

// One source address can use a share of what all clients may use. Beyond it the address is refused,
// by the name of the limit, and others are not. What it had is free when its sessions end.
func TestShareOfOneAddress(t *testing.T) {
	for _, c := range []struct {
		name    string
		opts    pubsub.Options
		names   func(prefix string) []string
		want    int // a 33rd
		refusal string
	}{
		{"bytes", pubsub.Options{TotalBytes: 1 << 20}, func(p string) []string { return namesOf(p+".%04d", 1000) },
			1 << 20 / 33 / 518, "at most 31764 bytes of subscriptions per source address"},
		{"topics", pubsub.Options{MaxTopics: 1000}, func(p string) []string { return namesOf(p+".%04d", 1000) },
			1000 / 33, "at most 30 topics per source address"},
		{"arrangements of wildcards", pubsub.Options{}, func(string) []string { return rarePatterns(1000) },
			1024 / 33, "at most 31 arrangements of wildcards in patterns of more than 6 tokens per source address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := newTestServer(t, c.opts)
			a := srv.clientFrom("192.0.2.1")
			n, refusal := a.fill(c.names("a"))
			if n < c.want-1 || n > c.want+1 {
				t.Errorf("got %d subscriptions, want about %d", n, c.want)
			}
			if want := `{"error":"bad input: limit exceeded: ` + c.refusal + `"}`; refusal != want {
				t.Errorf("got refusal %s, want %s", refusal, want)
			}
			a.expect("EOF")
			srv.clientFrom("192.0.2.1").subscribe("a.0001") // of the session that is detached now
			other := srv.clientFrom("2001:db8::1")
			m, _ := other.fill(c.names("b"))
			if m < c.want-2 {
				t.Errorf("got %d subscriptions of another address, want about %d", m, c.want)
			}
			waitFor(t, "end of the refused clients", func() bool { return srv.Stats().Clients == 1 })
			for _, s := range srv.Sessions() {
				srv.EndSession(s.ID)
			}
			waitFor(t, "removal of the topics", func() bool { return srv.Stats().Topics == 0 })
			if k, _ := srv.clientFrom("192.0.2.1").fill(c.names("a")); k != n {
				t.Errorf("got %d subscriptions after the end of the first ones, want %d", k, n)
			}
		})
	}
}

// Sessions that are detached keep their arrangements of wildcards, for the address that has used
// them.
func TestShareOfDetachedSessions(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{})
	names := rarePatterns(100)
	a := srv.clientFrom("192.0.2.1")
	a.fill(names[:20])
	a.nc.Close()
	waitFor(t, "detached session", func() bool { return srv.Stats().Sessions.Detached == 1 })
	if n, refusal := srv.clientFrom("192.0.2.1").fill(names[20:]); n != 11 {
		t.Errorf("got %d subscriptions and %s, want 11", n, refusal)
	}
}

// An address cannot exceed its limit by attaching sessions that others have made.
func TestAttachBeyondTheLimit(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{AddressBytes: 60_000})
	var tokens []string
	for i := range 2 {
		c := srv.clientFrom(fmt.Sprint("192.0.2.", 10+i))
		c.fill(namesOf(fmt.Sprint("t", i, ".%04d"), 100))
		tokens = append(tokens, c.token)
		c.nc.Close()
	}
	waitFor(t, "detached sessions", func() bool { return srv.Stats().Sessions.Detached == 2 })
	first := srv.clientFrom("192.0.2.1")
	first.request("attach", tokens[0])
	first.expect("ACK")
	again := srv.clientFrom("192.0.2.1") // takes the session over
	again.request("attach", tokens[0])
	again.expect("ACK")
	first.nc.Close()
	c := srv.clientFrom("192.0.2.1")
	c.request("attach", tokens[1])
	c.expect(`{"error":"bad input: attach: bad input: limit exceeded: at most 60000 bytes of subscriptions per source address"}`, "EOF")
	c.nc.Close()
	waitFor(t, "end of the refused client", func() bool { return srv.Stats().Clients == 1 })
	c = srv.clientFrom("192.0.2.11") // the session still exists
	c.request("attach", tokens[1])
	c.expect("ACK")
}

// Short frames are not counted until they are complete, so that nobody is refused because others
// have used up the bytes.
func TestShortFramesAreNotCounted(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{TotalBytes: 1000})
	c := srv.clientFrom("192.0.2.1")
	text := publishRequest("x", `"`+strings.Repeat("a", 10_000)+`"`)
	io.WriteString(c.nc, text[:9000])
	io.WriteString(c.nc, text[9000:]+"\x00")
	c.expect(`{"published":0,"id":7}`)
	io.WriteString(c.nc, strings.Repeat("a", 20_000))
	c.expect(`{"error":"bad input: limit exceeded: at most 1000 bytes of subscriptions and incomplete frames in all"}`, "EOF")
}

// A client that publishes to many topics evicts its own histories, not those of others.
func TestHistoriesOfOthersAreKept(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{HistoryTotal: 100_000})
	early := srv.clientFrom("192.0.2.1")
	for i := range 5 {
		early.write(publishRequest(fmt.Sprint("early.", i), "1") + "\x00")
		early.frame()
	}
	for i := range 3 {
		flood := srv.clientFrom(fmt.Sprint("198.51.100.", i))
		for j := range 500 {
			flood.write(publishRequest(fmt.Sprint("flood.", i, ".", j), "1") + "\x00")
			flood.frame()
		}
	}
	for i := range 5 {
		topic := fmt.Sprint("early.", i)
		early.write(subscribeRequest(topic, `,"last":true`) + "\x00")
		early.expect("ACK", delivered(topic, "1"))
	}
	if n := srv.Stats().Topics; n < 100 || n > 200 {
		t.Errorf("got %d topics, want 100 to 200 within 100 kB", n)
	}
}
