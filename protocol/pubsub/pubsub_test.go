package pubsub_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/protocol/pubsub"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// town is a server, on the in-memory transport if nothing else is said.
type town struct {
	t    testing.TB
	s    *pubsub.Server
	l    *ranch.Listener
	tr   transport.Transport
	addr string
}

func found(t testing.TB, opts pubsub.Options) *town {
	t.Helper()
	return foundOver(t, opts, new(transport.Mem), "topics")
}

func foundOver(t testing.TB, opts pubsub.Options, tr transport.Transport, addr string) *town {
	t.Helper()
	s, err := pubsub.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	tn := &town{t: t, s: s, tr: tr}
	tn.l, err = new(ranch.Server).StartListener("topics", tr, ranch.Options{Addr: addr, Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}, s)
	if err != nil {
		t.Fatal(err)
	}
	tn.addr = tn.l.Addr().String()
	t.Cleanup(tn.close)
	return tn
}

func (tn *town) close() {
	tn.t.Helper()
	tn.l.Stop()
	if err := tn.s.Close(context.Background()); err != nil {
		tn.t.Error(err)
	}
}

// bot is a client that speaks the wire protocol by hand.
type bot struct {
	t     testing.TB
	nc    net.Conn
	token string
	in    []byte
}

func (tn *town) bot() *bot {
	tn.t.Helper()
	nc, err := tn.tr.Dial(context.Background(), tn.addr)
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.t.Cleanup(func() { nc.Close() })
	b := &bot{t: tn.t, nc: nc}
	hello := regexp.MustCompile(`^\{"timestamp":\[\d+,\d+,\d+\],"token":"(\d+)"\}$`).FindStringSubmatch(b.frame())
	if hello == nil {
		tn.t.Fatal("no token")
	}
	b.token = hello[1]
	return b
}

func (b *bot) write(s string) {
	b.t.Helper()
	if _, err := io.WriteString(b.nc, s); err != nil {
		b.t.Fatal(err)
	}
}

// frame returns the next one, or the error as "EOF".
func (b *bot) frame() string {
	b.t.Helper()
	b.nc.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if f, rest, ok := strings.Cut(string(b.in), "\x01"); ok {
			b.in = []byte(rest)
			return f
		}
		buf := make([]byte, 4096)
		n, err := b.nc.Read(buf)
		b.in = append(b.in, buf[:n]...)
		if err == io.EOF && n == 0 {
			return "EOF" + string(b.in)
		} else if err != nil && n == 0 {
			return err.Error()
		}
	}
}

var stamp = regexp.MustCompile(`"timestamp":\[\d+,\d+,\d+\]`)

// expects compares the next frames, of which timestamps are left out.
func (b *bot) expects(want ...string) {
	b.t.Helper()
	var got []string
	for range want {
		got = append(got, stamp.ReplaceAllString(b.frame(), `"timestamp":T`))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Fatalf("(-want +got):\n%s", diff)
	}
}

func (b *bot) asks(action, data string) {
	b.t.Helper()
	b.write(fmt.Sprintf("{\"action\":%q,\"data\":%q}\x00", action, data))
}

func (b *bot) subscribes(topic string) { b.t.Helper(); b.asks("subscribe", topic); b.expects("ACK") }

func message(topic, data string) string {
	return fmt.Sprintf(`{"topic":%q,"event":"e","message_id":"","data":%s}`, topic, data)
}

// heard is a message as subscribers get it.
func heard(topic, data string) string { return `{"timestamp":T,` + message(topic, data)[1:] }

func (tn *town) publishes(topic, data string) {
	tn.t.Helper()
	p := tn.bot()
	p.write("<regular-socket/>\x00PUBLISH\x00" + message(topic, data) + "\x00")
	p.expects("EOF")
}

// The run of a bot, as the original does it.
func TestBot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		a, b := tn.bot(), tn.bot()
		a.write("<regular-socket/>\x00PING\x00<regular-socket/>\x00")
		a.subscribes("events")
		b.subscribes("events")
		tn.publishes("events", `"test"`)
		a.expects(heard("events", `"test"`))
		b.expects(heard("events", `"test"`))
		a.asks("unsubscribe", "events")
		synctest.Wait() // there is no answer
		tn.publishes("events", `{"x":[1,2]}`)
		b.expects(heard("events", `{"x":[1,2]}`))
		time.Sleep(31 * time.Second)
		a.expects("PING")
	})
}

// A session goes on over another connection, with what was published meanwhile.
func TestAttach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		a := tn.bot()
		a.subscribes("x")
		a.subscribes("y.*")
		a.nc.Close()
		synctest.Wait()
		tn.publishes("x", "1")
		tn.publishes("y.z", "2")
		b := tn.bot()
		b.asks("attach", a.token)
		b.expects(heard("x", "1"), heard("y.z", "2"), "ACK")
		tn.publishes("x", "3")
		b.expects(heard("x", "3"))
		c := tn.bot()
		c.asks("attach", a.token)
		c.expects("ACK")
		b.expects(`{"error":"the session was attached to another connection"}`, "EOF")
		tn.publishes("y.a", "4")
		c.expects(heard("y.a", "4"))
		d := tn.bot()
		d.asks("attach", "123")
		d.expects(`{"error":"bad input: attach: unknown or expired session"}`, "EOF")
	})
}
