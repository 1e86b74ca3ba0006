package conns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"goranch/conns"
	"goranch/internal/termtext"
	"goranch/transport"
)

// atAddress is a stub of a client at an address.
type atAddress struct {
	*stub
	addr net.Addr
}

func (a atAddress) RemoteAddr() net.Addr { return a.addr }

func tcpAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

var errReputation = errors.New("bad reputation")

// The hook decides before the handshake. What it does costs its own connection only.
func TestAdmit(t *testing.T) {
	noHandshake := func(context.Context, net.Conn) (net.Conn, error) {
		t.Error("got a handshake of a refused connection, want none")
		return nil, errBoom
	}
	for name, tc := range map[string]struct {
		t     transport.Transport
		admit func(netip.AddrPort) error
		want  conns.Reason
		err   string
	}{
		"admits, plain":    {plain, func(netip.AddrPort) error { return nil }, conns.Finished, ""},
		"admits":           {fake{}, func(netip.AddrPort) error { return nil }, conns.Finished, ""},
		"refuses, plain":   {plain, func(netip.AddrPort) error { return errReputation }, conns.RefusedByHook, "refused by the admission hook: bad reputation"},
		"refuses":          {fake{shake: noHandshake}, func(netip.AddrPort) error { return errReputation }, conns.RefusedByHook, "bad reputation"},
		"another reason":   {plain, func(netip.AddrPort) error { return conns.Banned }, conns.RefusedByHook, "banned"},
		"hostile text":     {plain, func(netip.AddrPort) error { return errors.New("host \x1b[31m\nx") }, conns.RefusedByHook, `host \u001b[31m\u000ax`},
		"panics":           {plain, func(netip.AddrPort) error { panic("a test") }, conns.Panicked, "a test"},
		"panics in TLS":    {fake{shake: noHandshake}, func(netip.AddrPort) error { panic("a test") }, conns.Panicked, "a test"},
		"ends goroutine":   {plain, func(netip.AddrPort) error { runtime.Goexit(); return nil }, conns.Panicked, "Goexit"},
		"error that fails": {plain, func(netip.AddrPort) error { return failingError{} }, conns.Panicked, "a test"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, 1, time.Minute)
			h.sup.Set(conns.Settings{Admit: tc.admit, HandshakeTimeout: time.Minute})
			h.start(tc.t, atAddress{newStub(), tcpAddr("192.0.2.7:4000")}, func(context.Context, *transport.Conn) error { return nil })
			end := h.end()
			wantReason(t, end, tc.want)
			if tc.err != "" && (end.Err == nil || !strings.Contains(end.Err.Error(), tc.err)) {
				t.Errorf("got the error %v, want one that contains %q", end.Err, tc.err)
			}
			want := conns.Counters{Accepted: 1}
			want.Ended[tc.want] = 1
			switch tc.want {
			case conns.Finished:
				want.Served = 1
			case conns.RefusedByHook:
				want.Refused = 1
			default:
				want.HandshakeFailed = 1
			}
			wantCounters(t, h.sup, want)
			if strings.Contains(name, "refuses") && !errors.Is(end.Err, errReputation) {
				t.Errorf("got the error %v, want one that wraps that of the hook", end.Err)
			}
			h.shutdown()
		})
	}
}

type failingError struct{}

func (failingError) Error() string { panic("a test") }

// The text of the hook's error is bounded and contains nothing that a terminal interprets.
func TestAdmitErrorText(t *testing.T) {
	for _, s := range append(termtext.Nasty, "x"+strings.Repeat("ü", 10_000)) {
		h := newHarness(t, 1, time.Minute)
		h.sup.Set(conns.Settings{Admit: func(netip.AddrPort) error { return errors.New(s) }})
		h.start(plain, atAddress{newStub(), tcpAddr("192.0.2.7:4000")}, readAll)
		got := h.end().Err.Error()
		if len(got) > 2000 || !utf8.ValidString(got) || len(s) > 10_000 && !strings.HasSuffix(got, "ü…") || slices.ContainsFunc(termtext.Forbidden, func(bad string) bool { return strings.Contains(got, bad) }) {
			t.Errorf("error text: got %d bytes, %.100q, want at most 2000 bytes without control characters", len(got), got)
		}
		h.shutdown()
	}
}

// The hook is called with the address of the client in its normal form; without an IP address it is
// not called.
func TestAdmitAddress(t *testing.T) {
	for _, tc := range []struct {
		addr net.Addr
		want string
	}{
		{tcpAddr("192.0.2.7:4000"), "192.0.2.7:4000"},
		{tcpAddr("[::ffff:192.0.2.7]:4000"), "192.0.2.7:4000"},
		{tcpAddr("[2001:db8::1]:4000"), "[2001:db8::1]:4000"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 4000, Zone: "eth0"}, "[fe80::1]:4000"},
		{&net.UnixAddr{Name: "192.0.2.7:4000", Net: "unix"}, ""},
		{stubAddr("client"), ""},
	} {
		h := newHarness(t, 1, time.Minute)
		got := ""
		h.sup.Set(conns.Settings{Admit: func(a netip.AddrPort) error { got = a.String(); return nil }})
		h.start(plain, atAddress{newStub(), tc.addr}, func(context.Context, *transport.Conn) error { return nil })
		wantReason(t, h.end(), conns.Finished)
		if got != tc.want {
			t.Errorf("%v: got the hook called with %q, want %q", tc.addr, got, tc.want)
		}
		h.close()
	}
}

// A hook that blocks delays its own connection only. At the HandshakeTimeout the socket is closed,
// and the slot is released when the hook has returned.
func TestAdmitThatBlocks(t *testing.T) {
	for name, tr := range map[string]transport.Transport{"plain": plain, "with a handshake": fake{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, 2, time.Second)
				goOn := make(chan struct{})
				h.sup.Set(conns.Settings{HandshakeTimeout: time.Second, Limits: conns.Limits{MaxHandshakes: 1},
					Admit: func(a netip.AddrPort) error {
						if a.Port() == 1 {
							<-goOn
						}
						return nil
					}})
				stuck := newStub()
				h.start(tr, atAddress{stuck, tcpAddr("192.0.2.7:1")}, readAll)
				synctest.Wait()
				h.start(tr, atAddress{newStub(), tcpAddr("192.0.2.7:2")}, func(context.Context, *transport.Conn) error { return nil })
				wantReason(t, h.end(), conns.Finished)
				begin := time.Now()
				<-stuck.closed
				if took := time.Since(begin); took != time.Second {
					t.Errorf("got the socket closed after %v, want 1s", took)
				}
				synctest.Wait()
				wantState(t, h.gate, conns.GateState{Limit: 2, Used: 1, Peak: 2})
				close(goOn)
				wantReason(t, h.end(), conns.HandshakeTimeout)
				h.close()
			})
		})
	}
}

// Connections that a network rule or a limit per address refuses do not reach the hook.
func TestAdmitComesLast(t *testing.T) {
	h := newHarness(t, 10, time.Minute)
	asked := make(chan netip.AddrPort, 10)
	h.sup.Set(conns.Settings{
		Networks: newNetworks(t, deny("192.0.2.0/24")),
		Limits:   conns.Limits{PerAddress: 1},
		Admit:    func(a netip.AddrPort) error { asked <- a; return nil },
	})
	for i, want := range []conns.Reason{conns.Banned, conns.Finished, conns.RefusedAddress} {
		addr := fmt.Sprintf("198.51.100.7:%d", i)
		if i == 0 {
			addr = "192.0.2.7:1"
		}
		h.start(plain, atAddress{newStub(), tcpAddr(addr)}, readAll)
		if want == conns.Finished {
			receive(t, asked)
			continue
		}
		wantReason(t, h.end(), want)
	}
	if len(asked) > 0 {
		t.Errorf("got the hook called for %v, want no call", <-asked)
	}
	h.shutdown()
}

// Without a hook, the handshake of a plain transport has no goroutine and no timer.
func TestNoHookCostsNothing(t *testing.T) {
	h := newHarness(t, 1, time.Minute)
	h.start(fake{plain: true, shake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		if _, ok := ctx.Deadline(); ok {
			t.Error("got a deadline, want none")
		}
		return nc, nil
	}}, newStub(), func(context.Context, *transport.Conn) error { return nil })
	wantReason(t, h.end(), conns.Finished)
	h.close()
}
