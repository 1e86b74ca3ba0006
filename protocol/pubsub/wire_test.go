package pubsub_test

import (
	"fmt"
	"io"
	"net"
	"regexp"
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

// What a client sends, in pieces, and what it gets; timestamps are left out. "EOF" is the end.
var transcripts = []struct {
	name string
	send []string
	want []string
}{
	{"subscribe", []string{"{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"ACK"}},
	{"twice", []string{"{\"action\":\"subscribe\",\"data\":\"x\"}\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"ACK", "ACK"}},
	{"markers anywhere", []string{"<regular-socket/>\x00<regular-socket/>\x00PING\x00<regular-socket/>\x00PONG\x00<regular-socket/>\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00<regular-socket/>\x00"}, []string{"ACK"}},
	{"a marker in two", []string{"<regular-", "socket/>\x00{\"action\":\"subs", "cribe\",\"data\":\"x\"}", "\x00"}, []string{"ACK"}},
	{"liveness has no answer", []string{"PING\x00PONG\x00\x00\x00{\"action\":\"unsubscribe\",\"data\":\"never\"}\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"ACK"}},
	{"publish", []string{"PUBLISH\x00{\"topic\":\"t\",\"data\":1}\x00"}, []string{"EOF"}},
	{"publish behind a marker", []string{"PUBLISH\x00<regular-socket/>\x00{\"topic\":\"t\",\"data\":1}\x00"}, []string{"EOF"}},
	{"what follows a publish is not read", []string{"PUBLISH\x00{\"topic\":\"t\",\"data\":1}\x00{\"action\":\"subscribe\",\"data\":\"x\"}\x00"}, []string{"EOF"}},
	{"unknown action", []string{"{\"action\":\"dance\",\"data\":\"x\"}\x00"}, []string{`{"error":"bad input: unknown action \"dance\""}`, "EOF"}},
	{"no action", []string{"{}\x00"}, []string{`{"error":"bad input: a request needs an action"}`, "EOF"}},
	{"no JSON", []string{"hello\x00"}, []string{`{"error":"bad input: a request is a JSON object: invalid character 'h' looking for beginning of value"}`, "EOF"}},
	{"half a JSON", []string{"{\"action\":\x00"}, []string{`{"error":"bad input: a request is a JSON object: unexpected end of JSON input"}`, "EOF"}},
	{"no topic", []string{"{\"action\":\"subscribe\"}\x00"}, []string{`{"error":"bad input: data of \"subscribe\" must be a string"}`, "EOF"}},
	{"null topic", []string{"{\"action\":\"subscribe\",\"data\":null}\x00"}, []string{`{"error":"bad input: data of \"subscribe\" must be a string"}`, "EOF"}},
	{"empty topic", []string{"{\"action\":\"subscribe\",\"data\":\"\"}\x00"}, []string{`{"error":"bad input: the topic is empty"}`, "EOF"}},
	{"publish of no object", []string{"PUBLISH\x00[1]\x00"}, []string{`{"error":"bad input: a message is a JSON object: unexpected array"}`, "EOF"}},
	{"publish to two topics", []string{"PUBLISH\x00{\"topic\":\"a\",\"topic\":\"b\"}\x00"}, []string{`{"error":"bad input: a message has one topic, as \"topic\""}`, "EOF"}},
	{"publish to a TOPIC", []string{"PUBLISH\x00{\"topic\":\"a\",\"data\":{},\"T\\u006fPIC\":\"b\"}\x00"}, []string{`{"error":"bad input: a message has one topic, as \"topic\""}`, "EOF"}},
	{"publish to a number", []string{"PUBLISH\x00{\"topic\":1}\x00"}, []string{`{"error":"bad input: a message is a JSON object: unexpected number as topic"}`, "EOF"}},
	{"publish without topic", []string{"PUBLISH\x00{\"data\":1}\x00"}, []string{`{"error":"bad input: a message needs a topic"}`, "EOF"}},
	{"publish with a timestamp", []string{"PUBLISH\x00{\"timestamp\":[1,2,3],\"topic\":\"x\"}\x00"}, []string{`{"error":"bad input: the timestamp of a message is the server's"}`, "EOF"}},
	{"publish to a pattern", []string{"PUBLISH\x00{\"topic\":\"x.*\"}\x00"}, []string{`{"error":"bad input: topic \"x.*\": a pattern can be subscribed to only"}`, "EOF"}},
	{"over size", []string{strings.Repeat("x", 257<<10)}, []string{`{"error":"bad input: frame too large: allowed are 262144 bytes"}`, "EOF"}},
	{"attach to nobody", []string{"{\"action\":\"attach\",\"data\":\"12345\"}\x00"}, []string{`{"error":"bad input: attach: unknown or expired session"}`, "EOF"}},
	{"attach too late", []string{"{\"action\":\"subscribe\",\"data\":\"x\"}\x00{\"action\":\"attach\",\"data\":\"1\"}\x00"}, []string{"ACK", `{"error":"bad input: attach has to be the first request"}`, "EOF"}},
	{"negative history", []string{"{\"action\":\"subscribe\",\"data\":\"x\",\"history\":-1}\x00"}, []string{`{"error":"bad input: history -1: allowed are positive numbers"}`, "EOF"}},
	{"history of a pattern", []string{"{\"action\":\"subscribe\",\"data\":\"x.>\",\"last\":true}\x00"}, []string{`{"error":"bad input: a pattern has no history"}`, "EOF"}},
}

func TestTranscripts(t *testing.T) {
	for _, byByte := range []bool{false, true} {
		for _, c := range transcripts {
			t.Run(fmt.Sprintf("%s/%v", c.name, byByte), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tn := found(t, pubsub.Options{})
					b := tn.bot()
					go func() {
						for _, s := range c.send {
							if byByte && len(s) < 1000 {
								for i := range len(s) {
									io.WriteString(b.nc, s[i:i+1])
									time.Sleep(time.Microsecond) // until it is read
								}
							} else {
								io.WriteString(b.nc, s)
							}
						}
					}()
					b.expects(c.want...)
					time.Sleep(time.Second) // until all is sent
					synctest.Wait()
					refused := uint64(0)
					if strings.HasPrefix(c.want[0], `{"error`) || len(c.want) > 2 {
						refused = 1
					}
					if n := tn.s.Stats().Refused; n != refused {
						t.Errorf("%d refused", n)
					}
				})
			})
		}
	}
}

// A publisher that sends no NUL, and closes, is heard if its message is whole.
func TestPublishAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		a := tn.bot()
		a.subscribes("x")
		for _, end := range []func(nc net.Conn){
			func(nc net.Conn) { nc.Close() },
			func(nc net.Conn) { nc.(interface{ CloseWrite() error }).CloseWrite() },
		} {
			p := tn.bot()
			p.write("<regular-socket/>\x00PUBLISH\x00" + message("x", "1"))
			synctest.Wait()
			end(p.nc)
			a.expects(heard("x", "1"))
		}
		p := tn.bot()
		p.write("PUBLISH\x00" + message("x", "1")[:20])
		p.nc.(interface{ CloseWrite() error }).CloseWrite()
		p.expects(`{"error":"bad input: a message is a JSON object: unexpected end of JSON input"}`, "EOF")
		tn.publishes("x", "2")
		a.expects(heard("x", "2"))
		if st := tn.s.Stats(); st.Published != 3 || st.Refused != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// The original publisher does not read its token, so that its close resets the connection.
func TestPublishAndReset(t *testing.T) {
	tn := foundOver(t, pubsub.Options{}, transport.TCP{}, "127.0.0.1:0")
	a := tn.bot()
	a.subscribes("x")
	for i := range 20 {
		nc, err := net.Dial("tcp", tn.addr)
		if err != nil {
			t.Fatal(err)
		}
		for tn.s.Stats().Clients < 2 { // its token is under way
			time.Sleep(time.Millisecond)
		}
		io.WriteString(nc, "PUBLISH\x00"+message("x", fmt.Sprint(i)))
		nc.Close()
		a.expects(heard("x", fmt.Sprint(i)))
		for tn.s.Stats().Clients > 1 {
			time.Sleep(time.Millisecond)
		}
	}
}

// The error frame of a client that has sent much too much arrives over TCP.
func TestOverSizeOverTCP(t *testing.T) {
	tn := foundOver(t, pubsub.Options{MaxFrame: 1000}, transport.TCP{}, "127.0.0.1:0")
	b := tn.bot()
	io.WriteString(b.nc, strings.Repeat("x", 1500))
	b.expects(`{"error":"bad input: frame too large: allowed are 1000 bytes"}`)
}

// The frames byte by byte, the timestamp, the order of keys, and a large message in many packets.
func TestMessageBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		a := tn.bot()
		a.subscribes("x")
		large := `{"topic":"x" ,"event":"e","message_id":"7","data":"` + strings.Repeat("a", 20_000) + `"}`
		p := tn.bot()
		for i := 0; i < len(large); i += 100 {
			if i == 0 {
				p.write("PUBLISH\x00")
			}
			p.write(large[i:min(i+100, len(large))])
			synctest.Wait()
		}
		time.Sleep(1234567 * time.Microsecond)
		at := time.Now()
		p.write("\x00")
		synctest.Wait()
		s := at.Unix()
		want := fmt.Sprintf(`{"timestamp":[%d,%d,%d],`, s/1e6, s%1e6, at.Nanosecond()/1000) + large[1:]
		if diff := cmp.Diff(want, a.frame()); diff != "" {
			t.Error(diff)
		}
		if len(a.in) > 0 {
			t.Errorf("%q too much", a.in)
		}
	})
}

// ACK, PING and errors share no write with another frame, whatever else is sent.
func TestAlone(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprint(direct), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := found(t, pubsub.Options{Heartbeat: time.Second, MissedHeartbeats: -1, Queue: protocol.QueueOptions{MaxBytes: 8 << 20}})
				var mu sync.Mutex
				var writes []string
				tn.l.Trace(conns.Trace{Func: func(e transport.TraceEvent) {
					if e.Op == transport.TraceWrite && e.N > 0 {
						mu.Lock()
						writes = append(writes, string(e.Data))
						mu.Unlock()
					}
				}})
				a := tn.bot()
				if !direct {
					a.subscribes("p.*") // no group
				}
				a.subscribes("x")
				b := tn.bot()
				for i := range 400 { // what a does not read waits in the queue
					b.write("{\"action\":\"publish\",\"data\":" + message("x", `"`+strings.Repeat("m", 1000)+`"`) + "}\x00")
					b.expects(`{"published":1}`)
					if i%40 == 0 {
						a.asks("subscribe", fmt.Sprint("y", i))
						time.Sleep(1100 * time.Millisecond)
					}
				}
				acks, pings := 0, 0
				for range 400 + 10 {
				again:
					switch f := a.frame(); f {
					case "ACK":
						acks++
					case "PING":
						pings++
						goto again
					}
				}
				var several strings.Builder // many in one write of the client's: held back, and joined
				for i := range 20 {
					fmt.Fprintf(&several, "{\"action\":\"presence\",\"data\":\"x\"}\x00{\"action\":\"subscribe\",\"data\":\"z%d\"}\x00", i)
				}
				a.write(several.String())
				for range 20 {
					a.expects(`{"subscribers":1}`, "ACK")
				}
				a.asks("dance", "x")
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				shared := regexp.MustCompile("(?s)(\x01(PING|ACK|\\{\"error)|(^|\x01)(PING|ACK|\\{\"error[^\x01]*)\x01.)")
				for _, w := range writes {
					if shared.MatchString(w) {
						t.Fatalf("%.300q", w)
					}
				}
				if acks != 10 {
					t.Errorf("%d ACKs", acks)
				}
			})
		})
	}
}

// The answer to a subscribe comes when it has taken effect, and before the topic's messages.
func TestAckFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					tn.s.Publish("x", "e", "", 1)
				}
			}
		})
		for range 50 {
			b := tn.bot()
			b.subscribes("x")
			if f := b.frame(); !strings.Contains(f, `"topic":"x"`) {
				t.Errorf("%q", f)
			}
			b.nc.Close()
		}
		close(stop)
		wg.Wait()
	})
}
