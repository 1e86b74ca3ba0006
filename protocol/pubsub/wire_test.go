package pubsub_test

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/transport"
)

// transcripts list what a client sends, in pieces, and the frames that it receives. EOF is the end
// of the stream.
var transcripts = []struct {
	name string
	send []string
	want []string
}{
	{"subscribe", []string{"{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"ACK"}},
	{"subscribe twice", []string{"{\"action\":\"subscribe\",\"data\":\"x\"}\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"ACK", "ACK"}},
	{"markers between frames", []string{"<regular-socket/>\x00<regular-socket/>\x00PING\x00<regular-socket/>\x00PONG\x00<regular-socket/>\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00<regular-socket/>\x00"}, []string{"ACK"}},
	{"split marker", []string{"<regular-", "socket/>\x00{\"action\":\"subs", "cribe\",\"data\":\"x\"}", "\x00"}, []string{"ACK"}},
	{"PING, PONG and unsubscribe have no answer", []string{"PING\x00PONG\x00\x00\x00{\"action\":\"unsubscribe\",\"data\":\"never\"}\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"ACK"}},
	{"publish", []string{"PUBLISH\x00{\"topic\":\"t\",\"data\":1}\x00"}, []string{"EOF"}},
	{"marker before the message", []string{"PUBLISH\x00<regular-socket/>\x00{\"topic\":\"t\",\"data\":1}\x00"}, []string{"EOF"}},
	{"frames after a publish are ignored", []string{"PUBLISH\x00{\"topic\":\"t\",\"data\":1}\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"EOF"}},
	{"unknown action", []string{"{\"action\":\"dance\",\"data\":\"x\"}\x00"}, []string{`{"error":"bad input: unknown action \"dance\""}`, "EOF"}},
	{"no action", []string{"{}\x00"}, []string{`{"error":"bad input: the request has no action"}`, "EOF"}},
	{"not JSON", []string{"hello\x00"}, []string{`{"error":"bad input: the request is not a valid JSON object: invalid character 'h' looking for beginning of value"}`, "EOF"}},
	{"truncated JSON", []string{"{\"action\":\x00"}, []string{`{"error":"bad input: the request is not a valid JSON object: unexpected end of JSON input"}`, "EOF"}},
	{"no topic", []string{"{\"action\":\"subscribe\"}\x00"}, []string{`{"error":"bad input: the data of \"subscribe\" must be a string"}`, "EOF"}},
	{"null topic", []string{"{\"action\":\"subscribe\",\"data\":null}\x00"}, []string{`{"error":"bad input: the data of \"subscribe\" must be a string"}`, "EOF"}},
	{"empty topic", []string{"{\"action\":\"subscribe\",\"data\":\"\"}\x00"}, []string{`{"error":"bad input: empty topic name"}`, "EOF"}},
	{"publish of an array", []string{"PUBLISH\x00[1]\x00"}, []string{`{"error":"bad input: the message is not a valid JSON object: unexpected array"}`, "EOF"}},
	{"publish to two topics", []string{"PUBLISH\x00{\"topic\":\"a\",\"topic\":\"b\"}\x00"}, []string{`{"error":"bad input: the message must have exactly one key \"topic\""}`, "EOF"}},
	{"publish with a second topic in capitals", []string{"PUBLISH\x00{\"topic\":\"a\",\"data\":{},\"T\\u006fPIC\":\"b\"}\x00"}, []string{`{"error":"bad input: the message must have exactly one key \"topic\""}`, "EOF"}},
	{"publish to a number", []string{"PUBLISH\x00{\"topic\":1}\x00"}, []string{`{"error":"bad input: the message is not a valid JSON object: unexpected number as topic"}`, "EOF"}},
	{"publish without topic", []string{"PUBLISH\x00{\"data\":1}\x00"}, []string{`{"error":"bad input: the message has no topic"}`, "EOF"}},
	{"publish with a timestamp", []string{"PUBLISH\x00{\"timestamp\":[1,2,3],\"topic\":\"x\"}\x00"}, []string{`{"error":"bad input: the message has a timestamp, which only the server may set"}`, "EOF"}},
	{"publish to a pattern", []string{"PUBLISH\x00{\"topic\":\"x.*\"}\x00"}, []string{`{"error":"bad input: topic \"x.*\" is a pattern, which accepts subscriptions only"}`, "EOF"}},
	{"frame too large", []string{strings.Repeat("x", 257<<10)}, []string{`{"error":"bad input: frame too large: the limit is 262144 bytes"}`, "EOF"}},
	{"attach to an unknown session", []string{"{\"action\":\"attach\",\"data\":\"12345\"}\x00"}, []string{`{"error":"bad input: attach: unknown or expired session"}`, "EOF"}},
	{"attach too late", []string{"{\"action\":\"subscribe\",\"data\":\"x\"}\x00{\"action\":\"attach\",\"data\":\"1\"}\x00"}, []string{"ACK", `{"error":"bad input: attach must be the first request"}`, "EOF"}},
	{"negative history", []string{"{\"action\":\"subscribe\",\"data\":\"x\",\"history\":-1}\x00"}, []string{`{"error":"bad input: negative history -1"}`, "EOF"}},
	{"history of a pattern", []string{"{\"action\":\"subscribe\",\"data\":\"x.>\",\"last\":true}\x00"}, []string{`{"error":"bad input: a pattern has no history"}`, "EOF"}},
}

func TestTranscripts(t *testing.T) {
	for _, byteWise := range []bool{false, true} {
		for _, tt := range transcripts {
			t.Run(fmt.Sprintf("%s/byteWise=%v", tt.name, byteWise), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := newTestServer(t, pubsub.Options{})
					c := srv.client()
					go func() {
						for _, s := range tt.send {
							if byteWise && len(s) < 1000 {
								for i := range len(s) {
									io.WriteString(c.nc, s[i:i+1])
									time.Sleep(time.Microsecond) // until the server has read it
								}
							} else {
								io.WriteString(c.nc, s)
							}
						}
					}()
					c.expect(tt.want...)
					time.Sleep(time.Second) // until everything is sent
					synctest.Wait()
					want := uint64(0)
					if strings.HasPrefix(tt.want[0], `{"error`) || len(tt.want) > 2 {
						want = 1
					}
					if n := srv.Stats().Refused; n != want {
						t.Errorf("got %d refused clients, want %d", n, want)
					}
				})
			})
		}
	}
}

// A complete message without its final NUL is published when the publisher closes.
func TestPublishAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		a := srv.client()
		a.subscribe("x")
		for _, closePublisher := range []func(nc net.Conn){
			func(nc net.Conn) { nc.Close() },
			func(nc net.Conn) { nc.(interface{ CloseWrite() error }).CloseWrite() },
		} {
			p := srv.client()
			p.write("<regular-socket/>\x00PUBLISH\x00" + message("x", "1"))
			synctest.Wait()
			closePublisher(p.nc)
			a.expect(delivered("x", "1"))
		}
		p := srv.client()
		p.write("PUBLISH\x00" + message("x", "1")[:20])
		p.nc.(interface{ CloseWrite() error }).CloseWrite()
		p.expect(`{"error":"bad input: the message is not a valid JSON object: unexpected end of JSON input"}`, "EOF")
		srv.publish("x", "2")
		a.expect(delivered("x", "2"))
		if st := srv.Stats(); st.Published != 3 || st.Refused != 1 {
			t.Errorf("got %+v, want 3 messages and 1 refused client", st)
		}
	})
}

// The original publisher does not read its greeting, so that its close resets the connection; the
// message is published nevertheless.
func TestPublishAndReset(t *testing.T) {
	srv := newTestServerOn(t, pubsub.Options{}, transport.TCP{}, "127.0.0.1:0")
	a := srv.client()
	a.subscribe("x")
	for i := range 20 {
		nc, err := net.Dial("tcp", srv.addr)
		if err != nil {
			t.Fatalf("Dial: got %v, want no error", err)
		}
		for srv.Stats().Clients < 2 { // until the server sends the greeting
			time.Sleep(time.Millisecond)
		}
		io.WriteString(nc, "PUBLISH\x00"+message("x", fmt.Sprint(i)))
		nc.Close()
		a.expect(delivered("x", fmt.Sprint(i)))
		for srv.Stats().Clients > 1 {
			time.Sleep(time.Millisecond)
		}
	}
}

// A client that has sent too large a frame receives the error frame over TCP.
func TestFrameTooLargeOverTCP(t *testing.T) {
	srv := newTestServerOn(t, pubsub.Options{MaxFrame: 1000}, transport.TCP{}, "127.0.0.1:0")
	c := srv.client()
	io.WriteString(c.nc, strings.Repeat("x", 1500))
	c.expect(`{"error":"bad input: frame too large: the limit is 1000 bytes"}`)
}

// A large message in many packets is delivered as it is, with the time of its last byte as the
// timestamp.
func TestMessageBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		a := srv.client()
		a.subscribe("x")
		large := `{"topic":"x" ,"event":"e","message_id":"7","data":"` + strings.Repeat("a", 20_000) + `"}`
		p := srv.client()
		for i := 0; i < len(large); i += 100 {
			if i == 0 {
				p.write("PUBLISH\x00")
			}
			if i+100 >= len(large) {
				time.Sleep(1234567 * time.Microsecond)
			}
			p.write(large[i:min(i+100, len(large))])
			synctest.Wait()
		}
		at := time.Now()
		s := at.Unix()
		want := fmt.Sprintf(`{"timestamp":[%d,%d,%d],`, s/1e6, s%1e6, at.Nanosecond()/1000) + large[1:]
		if diff := cmp.Diff(want, a.frame()); diff != "" {
			t.Errorf("frame (-want +got):\n%s", diff)
		}
		if len(a.in) > 0 {
			t.Errorf("got %q in addition, want nothing", a.in)
		}
	})
}

// recordWrites records the server's writes to all connections from now on. The result returns them.
func (srv *testServer) recordWrites() func() []string {
	var mu sync.Mutex
	var writes []string
	srv.listener.Trace(conns.Trace{Func: func(e transport.TraceEvent) {
		if e.Op == "write" && e.N > 0 {
			mu.Lock()
			defer mu.Unlock()
			writes = append(writes, string(e.Data))
		}
	}})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(writes)
	}
}

// sharedWrite matches a write with PING, ACK or an error frame and another frame.
var sharedWrite = regexp.MustCompile("(?s)(\x01(PING|ACK|\\{\"error)|(^|\x01)(PING|ACK|\\{\"error[^\x01]*)\x01.)")

// ACK, PING and error frames never share a write with another frame: the original client compares
// whole reads with them.
func TestUnsharedWrites(t *testing.T) {
	for _, viaGroup := range []bool{true, false} {
		t.Run(fmt.Sprintf("viaGroup=%v", viaGroup), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newTestServer(t, pubsub.Options{Heartbeat: time.Second, MissedHeartbeats: -1, Queue: protocol.QueueOptions{MaxBytes: 8 << 20}})
				writes := srv.recordWrites()
				a := srv.client()
				if !viaGroup {
					a.subscribe("p.*")
				}
				a.subscribe("x")
				b := srv.client()
				for i := range 400 { // a does not read, so that its queue fills
					b.write("{\"action\":\"publish\",\"data\":" + message("x", `"`+strings.Repeat("m", 1000)+`"`) + "}\x00")
					b.expect(`{"published":1}`)
					if i%40 == 0 {
						a.request("subscribe", fmt.Sprint("y", i))
						time.Sleep(1100 * time.Millisecond)
					}
				}
				acks := 0
				for n := 0; n < 400+10; {
					f := a.frame()
					if f == "ACK" {
						acks++
					}
					if f != "PING" {
						n++
					}
				}
				var requests strings.Builder // in one write, so that the server corks the answers
				for i := range 20 {
					fmt.Fprintf(&requests, "{\"action\":\"presence\",\"data\":\"x\"}\x00{\"action\":\"subscribe\",\"data\":\"z%d\"}\x00", i)
				}
				a.write(requests.String())
				for range 20 {
					a.expect(`{"subscribers":1}`, "ACK")
				}
				a.request("dance", "x")
				synctest.Wait()
				for _, w := range writes() {
					if sharedWrite.MatchString(w) {
						t.Fatalf("got the write %.300q, want ACK, PING and errors in writes of their own", w)
					}
				}
				if acks != 10 {
					t.Errorf("got %d ACKs, want 10", acks)
				}
			})
		})
	}
}

// ACK is sent when a subscription is in effect, and before the first message of the topic.
func TestAckBeforeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					srv.Publish("x", "e", "", 1)
				}
			}
		})
		for range 50 {
			c := srv.client()
			c.subscribe("x")
			if f := c.frame(); !strings.Contains(f, `"topic":"x"`) {
				t.Errorf("frame after ACK: got %q, want a message of topic x", f)
			}
			c.nc.Close()
		}
		close(stop)
		wg.Wait()
	})
}
