package admin_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
	"goranch/transport/proxy"
)

// startNetworks starts a listener with a table of rules behind a proxy, and returns a function that
// connects to it from an address.
func (s *testServer) startNetworks(name string, n *conns.Networks) (dial func(ip string) net.Conn) {
	s.t.Helper()
	behind := proxy.Transport{Inner: s.mem, Local: proxy.Require}
	opts := ranch.Options{Addr: name, Logger: discardLogger, Networks: n}
	l, err := s.server.StartListener(name, behind, opts, echo.Protocol{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Stop() })
	return func(ip string) net.Conn {
		out := behind
		out.Header = &transport.ProxyHeader{
			Source: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}, Destination: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 99), Port: 2}}
		nc, err := out.Dial(s.t.Context(), name)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { nc.Close() })
		nc.SetReadDeadline(time.Now().Add(timeout))
		return nc
	}
}

// isServed reports whether an echo server answers.
func isServed(nc net.Conn) bool {
	go io.WriteString(nc, "x")
	_, err := io.ReadFull(nc, make([]byte, 1))
	return err == nil
}

func TestBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		js := s.jsonClient()
		if a := js.json("ban 192.0.2.0/24"); a.Error == nil || !strings.Contains(a.Error.Message, "no listener has a table of networks") {
			t.Errorf("without a table: got %+v, want an error", a)
		}
		n := new(conns.Networks)
		dial := s.startNetworks("a", n)
		s.startNetworks("b", n)
		file := conns.NetworkRule{Prefix: netip.MustParsePrefix("10.0.0.0/8"), PerAddress: 500, Bits4: 24}
		if err := n.Replace("file", []conns.NetworkRule{file}); err != nil {
			t.Fatal(err)
		}
		inside, kept, outside := dial("192.0.2.7"), dial("198.51.100.7"), dial("203.0.113.7")
		for _, nc := range []net.Conn{inside, kept, outside} {
			roundTrip(t, nc, "x")
		}
		if got := js.json("ban --keep 198.51.100.7").fields(t); got["closed"] != 0.0 {
			t.Errorf("ban --keep: got %v, want none closed", got)
		}
		roundTrip(t, kept, "x")
		kept.Close()
		synctest.Wait()
		got := js.json(`ban 192.0.2.9/24 ::ffff:10.9.9.9 --for 1h --reason "port scan" --reset`).fields(t)
		if got["banned"] != 2.0 || got["closed"] != 1.0 || got["until"] == "" {
			t.Errorf("ban: got %v, want 2 networks, 1 closed connection and a time", got)
		}
		if isServed(inside) || isServed(dial("192.0.2.8")) || !isServed(outside) {
			t.Error("after the ban: got other clients served than the one outside")
		}
		checkBans(t, js)
		if a := js.json("complete:unban 10"); string(a.Result) != `["10.9.9.9/32"]` {
			t.Errorf("completion: got %s, want the ban and not the limit", a.Result)
		}
		if a := js.json("complete:ban 20"); string(a.Result) != `["203.0.113.7"]` {
			t.Errorf("completion: got %s, want the address of a live connection", a.Result)
		}
		if rows := js.json("unban 192.0.2.0/24").rows(t); len(rows) != 1 || rows[0]["network"] != "192.0.2.0/24" {
			t.Errorf("unban: got %v, want the removed ban", rows)
		}
		if !isServed(dial("192.0.2.8")) {
			t.Error("after unban: got the client refused, want it served")
		}
		time.Sleep(time.Hour)
		if rows := s.jsonClient().json("bans").rows(t); len(rows) != 2 {
			t.Errorf("an hour later: got %v, want the limit and the ban without a time", rows)
		}
	})
}

// checkBans checks the tables of bans.
func checkBans(t *testing.T, js *client) {
	t.Helper()
	var lines []string
	for _, r := range js.json("bans").rows(t) {
		lines = append(lines, fmt.Sprint(r["network"], " ", r["rule"], " ", r["reason"], " ", r["origin"], " ", r["listeners"]))
	}
	want := []string{
		"10.0.0.0/8 per-address=500 bits4=24  file a b", "10.9.9.9/32 reset port scan operator a b",
		"192.0.2.0/24 reset port scan operator a b", "198.51.100.7/32 deny  operator a b",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("bans (-want +got):\n%s", diff)
	}
	if a := js.json("bans 10.0.0.0/16"); len(a.rows(t)) != 1 {
		t.Errorf("bans of a network: got %+v, want 1", a)
	}
	if a := js.json("bans --limit 1 --offset 2"); a.rows(t)[0]["network"] != "192.0.2.0/24" || a.Total != 4 {
		t.Errorf("a page: got %+v, want the third of 4", a)
	}
}

func TestBanFaults(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	n := new(conns.Networks)
	s.startNetworks("a", n)
	if err := n.Add(conns.NetworkRule{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Deny: true},
		conns.NetworkRule{Prefix: netip.MustParsePrefix("172.16.0.0/12"), Exempt: true}); err != nil {
		t.Fatal(err)
	}
	js := s.jsonClient()
	before := fmt.Sprint(n.Rules())
	for request, want := range map[string]string{
		"ban":                             "ban <network> ...",
		"ban 192.0.2.0/33":                `network "192.0.2.0/33": allowed are networks`,
		"ban 192.0.2.0/24 x":              `network "x"`,
		"ban 192.0.2.0/24 --for 0s":       "allowed are durations from 1s",
		"ban 192.0.2.0/24 --for never":    "allowed are durations from 1s",
		"ban 0.0.0.0/0":                   "add --yes",
		"ban ::/0":                        "add --yes",
		"ban 1.2.3.4 --reason \"\u202e\"": "option Reason",
		"unban 192.0.2.0/24":              "no ban of 192.0.2.0/24",
		"unban 10.1.2.3":                  "no ban of 10.1.2.3/32; the ban of 10.0.0.0/8 applies to it",
		"unban 172.16.0.0/12":             "no ban of 172.16.0.0/12",
		"bans x":                          `network "x"`,
		"bans --limit 0":                  "allowed are the numbers 1 to 1000",
	} {
		if a := js.json(request); a.Error == nil || !strings.Contains(a.Error.Message, want) {
			t.Errorf("%s: got %+v, want the error %q", request, a, want)
		}
	}
	if after := fmt.Sprint(n.Rules()); after != before {
		t.Errorf("rules: got %s, want them unchanged: %s", after, before)
	}
	if a := js.json("ban 0.0.0.0/0 --yes"); a.Error != nil {
		t.Errorf("ban 0.0.0.0/0 --yes: got %+v, want it banned", a.Error)
	}
}

// An operator does not lock himself out by mistake.
func TestBanOfTheOwnAddress(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	sh := s.listener("shell").Info().Protocol
	l, err := s.server.StartListener("tcp", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: discardLogger, Networks: new(conns.Networks)}, sh)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(timeout))
	c := &client{Conn: nc, t: t, r: bufio.NewReader(nc)}
	c.line() // the session id
	if got := c.text("ban 127.0.0.0/8"); !strings.Contains(got, "contains your own address 127.0.0.1; add --yes") {
		t.Errorf("got %q, want an error", got)
	}
	if got := c.text("ban 127.0.0.0/8 --yes --keep"); !strings.Contains(got, "Banned networks") {
		t.Errorf("with --yes: got %q, want it banned", got)
	}
}
