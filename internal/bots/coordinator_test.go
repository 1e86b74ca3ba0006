package bots

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// summary is the part of a result that tests compare.
type summary struct {
	Good, Bad, Processes, Deliveries, Broadcasts int
	Reasons                                      map[string]int
}

func summarize(t *testing.T, out string) summary {
	t.Helper()
	var r result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return summary{r.Good, r.Bad, r.Processes, int(r.Deliveries), len(r.Broadcasts), r.Reasons}
}

func TestRealServer(t *testing.T) {
	none := map[string]int{}
	for _, tt := range []struct {
		name string
		args string
		want summary
	}{
		{"one message", "--clients 1000", summary{1000, 0, 1, 1000, 1, none}},
		{"goroutines", "--clients 1000 --engine goroutines", summary{1000, 0, 1, 1000, 1, none}},
		{"two processes", "--clients 1001 --processes 2 --repeat 3", summary{1001, 0, 2, 3003, 3, none}},
		{"several messages", "--clients 100 --repeat 20", summary{100, 0, 1, 2000, 20, none}},
		{"at a rate", "--clients 100 --repeat 20 --rate 200", summary{100, 0, 1, 2000, 20, none}},
		{"large messages, another topic", "--clients 50 --repeat 2 --message-size 200000 --topic a\"b", summary{50, 0, 1, 100, 2, none}},
		{"connect rate", "--clients 20 --connect-rate 100 --in-flight 1", summary{20, 0, 1, 20, 1, none}},
		{"more processes than clients", "--clients 1 --processes 3", summary{1, 0, 1, 1, 1, none}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port, s := newTopicServer(t)
			code, out, errs := runBots(t, port, append(strings.Fields(tt.args), "--json")...)
			if code != exitGood {
				t.Fatalf("got code %d, want %d; stderr %s, stdout %s", code, exitGood, errs, out)
			}
			if diff := cmp.Diff(tt.want, summarize(t, out)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for end := time.Now().Add(10 * time.Second); s.Stats().Sessions.Attached+s.Stats().Sessions.Detached > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("got sessions %+v after the run, want none", s.Stats().Sessions)
				}
			}
		})
	}
}

// odd selects every other client. Connection 0 is the coordinator's.
func odd(i int) bool { return i%2 == 1 }

// faultyServer is a server that violates the protocol, and the result that is expected of a run of
// 40 clients.
type faultyServer struct {
	name    string
	server  *fakeServer
	code    int
	good    int
	reasons map[string]int
	stderr  string
}

// answer returns a step of a fakeServer that sends s.
func answer(s string) func(int, net.Conn) bool {
	return func(_ int, c net.Conn) bool {
		io.WriteString(c, s)
		return true
	}
}

var faultyServers = []faultyServer{
	{name: "no ACK", server: &fakeServer{onSubscribe: func(int, net.Conn) {}}, code: exitUnconnected,
		stderr: "40  no ACK within the setup time"},
	{name: "ACK for half", server: &fakeServer{onSubscribe: func(i int, c net.Conn) {
		if odd(i) {
			io.WriteString(c, "ACK\x01")
		}
	}}, code: exitBad, good: 20, reasons: map[string]int{"no ACK within the setup time": 20}},
	{name: "half are closed", server: &fakeServer{onSubscribe: func(i int, c net.Conn) {
		if odd(i) {
			c.(*net.TCPConn).CloseWrite()
			return
		}
		io.WriteString(c, "ACK\x01")
	}}, code: exitBad, good: 20, reasons: map[string]int{"closed by the server before the ACK": 20}},
	{name: "half are reset", server: &fakeServer{onSubscribe: func(i int, c net.Conn) {
		if odd(i) {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			return
		}
		io.WriteString(c, "ACK\x01")
	}}, code: exitBad, good: 20, reasons: map[string]int{"connection reset before the ACK": 20}},
	{name: "invalid token", server: &fakeServer{onConnect: answer("HTTP/1.1 400 Bad Request\r\n\r\n")}, code: exitUnconnected,
		stderr: `invalid token: "HTTP/1.1 400 Bad Request`},
	{name: "invalid ACK", server: &fakeServer{onSubscribe: func(_ int, c net.Conn) { io.WriteString(c, "NAK\x01") }}, code: exitUnconnected,
		stderr: `40  invalid message: "NAK"`},
	{name: "error frame", server: &fakeServer{onSubscribe: func(_ int, c net.Conn) { io.WriteString(c, `{"error":"no"}`+"\x01") }}, code: exitUnconnected,
		stderr: "40  server error: no"},
	{name: "token of codes, PINGs, single bytes", server: &fakeServer{
		onConnect: answer("PING\x01" + `{"timestamp":[1,2,3],"token":[104,105]}` + "\x01PING\x01"),
		onSubscribe: func(_ int, c net.Conn) {
			for _, b := range []byte("PING\x01ACK\x01PING\x01") {
				c.Write([]byte{b})
			}
		}}, code: exitGood, good: 40, reasons: map[string]int{}},
	{name: "other JSON encoding", server: &fakeServer{onDeliver: func(c net.Conn, f []byte) {
		var m map[string]any
		json.Unmarshal(f[:len(f)-1], &m)
		b, _ := json.MarshalIndent(m, "", " ")
		c.Write(append(b, 1))
	}}, code: exitGood, good: 40, reasons: map[string]int{}},
	{name: "no deliveries", server: &fakeServer{onDeliver: func(net.Conn, []byte) {}}, code: exitBad,
		reasons: map[string]int{"no message within 1s": 40}},
	{name: "foreign messages only", server: &fakeServer{onDeliver: func(c net.Conn, _ []byte) {
		fmt.Fprintf(c, `{"timestamp":%s,"topic":"events","event":"x","message_id":"","data":"other"}`+"\x01", stampNow())
	}}, code: exitBad, reasons: map[string]int{"no message within 1s": 40}},
	{name: "each message twice", server: &fakeServer{onDeliver: func(c net.Conn, f []byte) { c.Write(append(f, f...)) }}, code: exitGood, good: 40, reasons: map[string]int{}},
	{name: "closes within a message", server: &fakeServer{onDeliver: func(c net.Conn, f []byte) {
		c.Write(f[:len(f)/2])
		c.(*net.TCPConn).CloseWrite()
	}}, code: exitBad, reasons: map[string]int{"closed by the server before the message": 40}},
}

func TestFaultyServers(t *testing.T) {
	const clients = 40
	for _, tt := range faultyServers {
		for _, engine := range []string{"auto", "goroutines"} {
			t.Run(tt.name+"/"+engine, func(t *testing.T) {
				t.Parallel()
				f := &fakeServer{onConnect: tt.server.onConnect, onSubscribe: tt.server.onSubscribe, onDeliver: tt.server.onDeliver}
				code, out, errs := runBots(t, f.start(t), "--clients", fmt.Sprint(clients), "--timeout", "1s", "--setup-timeout", "2s", "--json", "--engine", engine)
				if code != tt.code || !strings.Contains(errs, tt.stderr) {
					t.Fatalf("got code %d, want %d; stderr %q, want %q in it; stdout %s", code, tt.code, errs, tt.stderr, out)
				}
				if tt.code == exitUnconnected {
					return
				}
				want := summary{Good: tt.good, Bad: clients - tt.good, Processes: 1, Deliveries: tt.good, Broadcasts: 1, Reasons: tt.reasons}
				if diff := cmp.Diff(want, summarize(t, out)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestNoServer(t *testing.T) {
	code, out, errs := runBots(t, unusedPort(t))
	if code != exitUnconnected || out != "" || !strings.Contains(errs, "connection refused") {
		t.Errorf("got code %d, stdout %q, stderr %q; want %d, no stdout, connection refused", code, out, errs, exitUnconnected)
	}
}

// A server that accepts the coordinator's connection and refuses all others.
func TestRefused(t *testing.T) {
	for _, engine := range []string{"auto", "goroutines"} {
		t.Run(engine, func(t *testing.T) {
			f := &fakeServer{}
			f.onConnect = func(_ int, c net.Conn) bool {
				f.listener.Close()
				io.WriteString(c, tokenFrame)
				return true
			}
			code, _, errs := runBots(t, f.start(t), "--clients", "30", "--engine", engine)
			want := "no client is ready: 0 received a token, 30 were lost:\n       30  connection refused"
			if code != exitUnconnected || !strings.Contains(errs, want) {
				t.Errorf("got code %d, stderr %q; want %d, %q in it", code, errs, exitUnconnected, want)
			}
		})
	}
}

// A server that closes all connections between two messages.
func TestServerStopsBetweenMessages(t *testing.T) {
	for _, args := range [][]string{{}, {"--rate", "100"}, {"--processes", "2"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			least := 20 // both messages before the third, to each client
			if slices.Contains(args, "--rate") {
				least = 0 // the third does not wait until the others are delivered
			}
			var once sync.Once
			f := &fakeServer{}
			f.onDeliver = func(c net.Conn, b []byte) {
				if strings.Contains(string(b), `-3",`) {
					once.Do(func() { time.AfterFunc(0, f.closeAll) })
					return
				}
				c.Write(b)
			}
			code, out, errs := runBots(t, f.start(t), append(args, "--clients", "10", "--repeat", "50", "--timeout", "1m", "--json")...)
			if code != exitBad {
				t.Fatalf("got code %d, want %d; stderr %s", code, exitBad, errs)
			}
			got := summarize(t, out)
			if got.Bad != 10 || got.Deliveries < least || len(got.Reasons) != 1 {
				t.Errorf("got %+v, want 10 bad clients, at least %d deliveries and one reason", got, least)
			}
		})
	}
}
