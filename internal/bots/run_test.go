package bots

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// summary is what tests compare of a run.
type summary struct {
	Good, Bad, Processes, Deliveries, Bursts int
	Reasons                                  map[string]int
}

func summarize(t *testing.T, out string) summary {
	t.Helper()
	var r result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return summary{r.Good, r.Bad, r.Processes, int(r.Deliveries), len(r.Bursts), r.Reasons}
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
		{"one after another", "--clients 100 --repeat 20", summary{100, 0, 1, 2000, 20, none}},
		{"at a rate", "--clients 100 --repeat 20 --rate 200", summary{100, 0, 1, 2000, 20, none}},
		{"large messages, another topic", "--clients 50 --repeat 2 --message-size 200000 --topic a\"b", summary{50, 0, 1, 100, 2, none}},
		{"slowly", "--clients 20 --connect-rate 100 --in-flight 1", summary{20, 0, 1, 20, 1, none}},
		{"one bot", "--clients 1 --processes 3", summary{1, 0, 1, 1, 1, none}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port, s := topics(t)
			code, out, errs := runs(t, port, append(strings.Fields(tt.args), "--json")...)
			if code != exitGood {
				t.Fatalf("code %d: %s", code, errs)
			}
			if diff := cmp.Diff(tt.want, summarize(t, out)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for end := time.Now().Add(10 * time.Second); s.Stats().Sessions.Attached+s.Stats().Sessions.Detached > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("bots have left sessions behind: %+v", s.Stats().Sessions)
				}
			}
		})
	}
}

// half tells every other bot from the rest. The first connection is the coordinator's.
func half(i int) bool { return i%2 == 1 }

func TestServersThatMisbehave(t *testing.T) {
	const clients = 40
	say := func(s string) func(int, net.Conn) bool {
		return func(_ int, c net.Conn) bool {
			io.WriteString(c, s)
			return true
		}
	}
	for _, tt := range []struct {
		name    string
		server  *fake
		code    int
		good    int
		reasons map[string]int
		stderr  string
	}{
		{name: "no ACK", server: &fake{subscribe: func(int, net.Conn) {}}, code: exitUnconnected,
			stderr: "40  no ACK when setting up was given up"},
		{name: "ACK for half", server: &fake{subscribe: func(i int, c net.Conn) {
			if half(i) {
				io.WriteString(c, "ACK\x01")
			}
		}}, code: exitBad, good: 20, reasons: map[string]int{"no ACK when setting up was given up": 20}},
		{name: "half is closed", server: &fake{subscribe: func(i int, c net.Conn) {
			if half(i) {
				c.(*net.TCPConn).CloseWrite()
				return
			}
			io.WriteString(c, "ACK\x01")
		}}, code: exitBad, good: 20, reasons: map[string]int{"closed by the server before the ACK": 20}},
		{name: "half is reset", server: &fake{subscribe: func(i int, c net.Conn) {
			if half(i) {
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
				return
			}
			io.WriteString(c, "ACK\x01")
		}}, code: exitBad, good: 20, reasons: map[string]int{"connection reset before the ACK": 20}},
		{name: "garbage instead of tokens", server: &fake{hello: say("HTTP/1.1 400 Bad Request\r\n\r\n")}, code: exitUnconnected,
			stderr: `garbage instead of a token: "HTTP/1.1 400 Bad Request`},
		{name: "garbage instead of an ACK", server: &fake{subscribe: func(_ int, c net.Conn) { io.WriteString(c, "NAK\x01") }}, code: exitUnconnected,
			stderr: `40  garbage instead of a message: "NAK"`},
		{name: "an error", server: &fake{subscribe: func(_ int, c net.Conn) { io.WriteString(c, `{"error":"no"}`+"\x01") }}, code: exitUnconnected,
			stderr: "40  the server says: no"},
		{name: "codes, PINGs and bytes one by one", server: &fake{
			hello: say("PING\x01" + `{"timestamp":[1,2,3],"token":[104,105]}` + "\x01PING\x01"),
			subscribe: func(_ int, c net.Conn) {
				for _, b := range []byte("PING\x01ACK\x01PING\x01") {
					c.Write([]byte{b})
				}
			}}, code: exitGood, good: 40, reasons: map[string]int{}},
		{name: "JSON in its own way", server: &fake{deliver: func(c net.Conn, f []byte) {
			var m map[string]any
			json.Unmarshal(f[:len(f)-1], &m)
			b, _ := json.MarshalIndent(m, "", " ")
			c.Write(append(b, 1))
		}}, code: exitGood, good: 40, reasons: map[string]int{}},
		{name: "delivers nothing", server: &fake{deliver: func(net.Conn, []byte) {}}, code: exitBad,
			reasons: map[string]int{"no message within 400ms": 40}},
		{name: "others' messages only", server: &fake{deliver: func(c net.Conn, _ []byte) {
			fmt.Fprintf(c, `{"timestamp":%s,"topic":"events","event":"x","message_id":"","data":"other"}`+"\x01", stampNow())
		}}, code: exitBad, reasons: map[string]int{"no message within 400ms": 40}},
		{name: "each message twice", server: &fake{deliver: func(c net.Conn, f []byte) { c.Write(append(f, f...)) }}, code: exitGood, good: 40, reasons: map[string]int{}},
		{name: "vanishes in the middle", server: &fake{deliver: func(c net.Conn, f []byte) {
			c.Write(f[:len(f)/2])
			c.(*net.TCPConn).CloseWrite()
		}}, code: exitBad, reasons: map[string]int{"closed by the server before the message": 40}},
	} {
		for _, engine := range []string{"auto", "goroutines"} {
			t.Run(tt.name+"/"+engine, func(t *testing.T) {
				t.Parallel()
				f := &fake{hello: tt.server.hello, subscribe: tt.server.subscribe, deliver: tt.server.deliver}
				code, out, errs := runs(t, f.start(t), "--clients", fmt.Sprint(clients), "--timeout", "400ms", "--setup-timeout", "500ms", "--json", "--engine", engine)
				if code != tt.code || !strings.Contains(errs, tt.stderr) {
					t.Fatalf("code %d, want %d; stderr %q, want %q; stdout %s", code, tt.code, errs, tt.stderr, out)
				}
				if tt.code == exitUnconnected {
					return
				}
				want := summary{Good: tt.good, Bad: clients - tt.good, Processes: 1, Deliveries: tt.good, Bursts: 1, Reasons: tt.reasons}
				if diff := cmp.Diff(want, summarize(t, out)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestNoServer(t *testing.T) {
	code, out, errs := runs(t, unusedPort(t))
	if code != exitUnconnected || out != "" || !strings.Contains(errs, "connection refused") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

// A server that refuses all but the coordinator.
func TestRefused(t *testing.T) {
	for _, engine := range []string{"auto", "goroutines"} {
		t.Run(engine, func(t *testing.T) {
			f := &fake{}
			f.hello = func(_ int, c net.Conn) bool {
				f.listener.Close()
				io.WriteString(c, stampedHello)
				return true
			}
			code, _, errs := runs(t, f.start(t), "--clients", "30", "--engine", engine)
			if code != exitUnconnected || !strings.Contains(errs, "no bot is ready: 0 have got a token, 30 were lost:\n       30  connection refused") {
				t.Errorf("code %d: %s", code, errs)
			}
		})
	}
}

// A server that stops accepting and closes everything between two messages.
func TestServerGoesBetweenMessages(t *testing.T) {
	for _, args := range [][]string{{}, {"--rate", "100"}, {"--processes", "2"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			var once sync.Once
			f := &fake{}
			f.deliver = func(c net.Conn, b []byte) {
				if strings.Contains(string(b), `-3",`) {
					once.Do(func() { time.AfterFunc(0, f.closeAll) })
					return
				}
				c.Write(b)
			}
			code, out, errs := runs(t, f.start(t), append(args, "--clients", "10", "--repeat", "50", "--timeout", "300ms", "--json")...)
			if code != exitBad {
				t.Fatalf("code %d: %s", code, errs)
			}
			got := summarize(t, out)
			if got.Bad != 10 || got.Deliveries < 20 || len(got.Reasons) != 1 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func (f *fake) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.members {
		c.Close()
	}
}
