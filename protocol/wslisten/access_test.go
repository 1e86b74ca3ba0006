package wslisten_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/wslisten"
	"goranch/ranch"
)

// A request that is not served gets an answer that says why.
func TestRefusals(t *testing.T) {
	authorize := func(r *http.Request) (any, error) {
		switch r.Header.Get("X-User") {
		case "":
			return nil, fmt.Errorf("%w: log in", wslisten.ErrUnauthenticated)
		case "eve":
			return nil, errors.New("not you")
		}
		return r.Header.Get("X-User"), nil
	}
	for _, tt := range []struct {
		name, header string
		opts         wslisten.Options
		status       int
		text         string
	}{
		{"another origin", "Origin: https://evil.example\r\n", wslisten.Options{}, 403, `add "evil.example" to Options.Origins`},
		{"a page without origin", "Origin: null\r\n", wslisten.Options{}, 403, `only if Options.Origins is "*"`},
		{"an allowed origin", "Origin: https://good.example\r\n", wslisten.Options{Origins: []string{"good.example"}}, 101, ""},
		{"the same origin", "Origin: http://chat.example.org\r\n", wslisten.Options{}, 101, ""},
		{"another host", "", wslisten.Options{Hosts: []string{"a.example"}}, 403, "add it to Options.Hosts"},
		{"unauthenticated", "", wslisten.Options{Authorize: authorize}, 401, "log in"},
		{"forbidden", "X-User: eve\r\n", wslisten.Options{Authorize: authorize}, 403, "not you"},
		{"authorized", "X-User: bob\r\n", wslisten.Options{Authorize: authorize}, 101, ""},
		{"with a body", "Content-Length: 5\r\n", wslisten.Options{}, 413, "a body is not allowed"},
		{"no subprotocol in common", "Sec-WebSocket-Protocol: v3\r\n", wslisten.Options{Subprotocols: []string{"v2", "v1"}}, 101, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, tt.opts, ranch.Options{}, echo)
			_, res := s.request(t, tt.header)
			body := ""
			if res.StatusCode != 101 {
				b, _ := io.ReadAll(res.Body)
				body = string(b)
			}
			if res.StatusCode != tt.status || !strings.Contains(body, strings.ReplaceAll(tt.text, `"`, `\"`)) {
				t.Errorf("%s: got status %d, %s, want %d, %s", tt.name, res.StatusCode, body, tt.status, tt.text)
			}
		})
	}
}

// At the cap a request waits for a slot, and is answered with 503 if there is none in time.
func TestCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{Backlog: 1}, ranch.Options{MaxConnections: 1, NumAcceptors: 1}, echo)
		first := s.dial(t)
		began := time.Now()
		if _, res := s.request(t, ""); res.StatusCode != 503 || time.Since(began) != 10*time.Second || res.Header.Get("Retry-After") == "" {
			t.Errorf("got status %d after %v, want 503 after AcceptTimeout", res.StatusCode, time.Since(began))
		}
		got := make(chan int, 1)
		go func() {
			_, res := s.request(t, "")
			got <- res.StatusCode
		}()
		synctest.Wait()
		if _, res := s.request(t, ""); res.StatusCode != 503 || time.Since(began) != 10*time.Second {
			t.Errorf("with a full backlog: got status %d, want 503 at once", res.StatusCode)
		}
		first.send(frame(closing, code(1000)))
		if status := <-got; status != 101 {
			t.Errorf("after the end of the first: got status %d, want 101", status)
		}
		if info := s.chat.Info(); info.Accepted != 2 || info.ActiveConnections != 1 {
			t.Errorf("got %d accepted and %d active, want 2 and 1", info.Accepted, info.ActiveConnections)
		}
	})
}

// The limits per address and bans apply to the address of the HTTP client, before the upgrade is
// answered.
func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		networks := new(conns.Networks)
		banned := netip.MustParsePrefix("192.0.2.0/24")
		if err := networks.Add(conns.NetworkRule{Prefix: banned, Deny: true}); err != nil {
			t.Fatal(err)
		}
		s := newServer(t, wslisten.Options{}, ranch.Options{Networks: networks, Limits: conns.Limits{PerAddress: 1}}, echo)
		for _, tt := range []struct {
			addr   string
			status int
			end    conns.Reason
		}{
			{"198.51.100.1:1000", 101, 0},
			{"198.51.100.1:1001", 503, conns.RefusedAddress},
			{"198.51.100.2:1000", 101, 0},
			{"192.0.2.1:1000", 503, conns.Banned},
		} {
			c, res := s.request(t, "X-Test-Addr: "+tt.addr+"\r\n")
			if res.StatusCode != tt.status {
				t.Errorf("%s: got status %d, want %d", tt.addr, res.StatusCode, tt.status)
			}
			if tt.status == 101 {
				c.send(frame(binaryFrame, "x"))
				c.expect(binaryFrame, "x")
				continue
			}
			if e := s.end(t); e.Reason != tt.end || e.Conn.RemoteAddr().String() != tt.addr {
				t.Errorf("%s: got end %v of %v, want %v", tt.addr, e.Reason, e.Conn.RemoteAddr(), tt.end)
			}
		}
	})
}

// Without a listener requests are refused, and a resumed listener serves them again.
func TestSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{Subprotocols: []string{"v1"}}, ranch.Options{}, echo)
		if _, err := s.ws.Listen(t.Context(), "/other"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second Listen: got %v, want EADDRINUSE", err)
		}
		c := s.dial(t)
		if err := s.chat.Suspend(); err != nil {
			t.Fatal(err)
		}
		if _, res := s.request(t, ""); res.StatusCode != 503 {
			t.Errorf("suspended: got status %d, want 503", res.StatusCode)
		}
		c.send(frame(binaryFrame, "still here"))
		c.expect(binaryFrame, "still here")
		if err := s.chat.Resume(); err != nil {
			t.Fatal(err)
		}
		_, res := s.request(t, "Sec-WebSocket-Protocol: v0, v1\r\n")
		if got := res.Header.Get("Sec-WebSocket-Protocol"); res.StatusCode != 101 || got != "v1" {
			t.Errorf("resumed: got status %d, subprotocol %q, want 101, v1", res.StatusCode, got)
		}
	})
}

func TestBadOptions(t *testing.T) {
	_, err := wslisten.New(wslisten.Options{Origins: []string{"https://a"}, Hosts: []string{"["}, CloseTimeout: -1, AcceptTimeout: -1, Backlog: -1})
	for _, field := range []string{"Origins", "Hosts", "CloseTimeout", "AcceptTimeout", "Backlog"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want a fault of %s", err, field)
		}
	}
}
