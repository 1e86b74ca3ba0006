package client_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// town is a server on the in-memory transport.
type town struct {
	t   testing.TB
	s   *pubsub.Server
	l   *ranch.Listener
	mem *transport.Mem
}

func found(t testing.TB, opts pubsub.Options) *town {
	t.Helper()
	tn := &town{t: t, mem: new(transport.Mem)}
	tn.start(opts)
	t.Cleanup(tn.stop)
	return tn
}

func (tn *town) start(opts pubsub.Options) {
	tn.t.Helper()
	s, err := pubsub.NewServer(opts)
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.s = s
	tn.listen(s)
}

func (tn *town) listen(p protocol.Protocol) {
	tn.t.Helper()
	var err error
	tn.l, err = new(ranch.Server).StartListener("topics", tn.mem, ranch.Options{Addr: "topics", Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}, p)
	if err != nil {
		tn.t.Fatal(err)
	}
}

func (tn *town) stop() {
	tn.l.Stop()
	if tn.s == nil {
		return
	}
	if err := tn.s.Close(context.Background()); err != nil {
		tn.t.Error(err)
	}
	tn.s = nil
}

// diary keeps events.
type diary struct {
	mu  sync.Mutex
	all []client.Event
}

func (d *diary) note(e client.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, e)
}

// kinds returns what has happened since it was asked last, attempts that have failed left out.
func (d *diary) kinds() (kinds []client.Kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.all {
		if n := len(kinds); e.Kind != client.Lost || n == 0 || kinds[n-1] != client.Lost {
			kinds = append(kinds, e.Kind)
		}
	}
	d.all = nil
	return kinds
}

func (tn *town) dial(opts client.Options) (*client.Client, *diary) {
	tn.t.Helper()
	d := &diary{}
	opts.OnEvent = d.note
	if opts.Transport == nil {
		opts.Transport = tn.mem
	}
	opts.Addr = "topics"
	c, err := client.Dial(context.Background(), opts)
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.t.Cleanup(func() { c.Close() })
	return c, d
}

func subscribe(t testing.TB, c *client.Client, name string, opts client.Subscription) *client.Sub {
	t.Helper()
	s, err := c.Subscribe(t.Context(), name, opts)
	if err != nil {
		t.Fatalf("subscribe to %s: %v", name, err)
	}
	return s
}

// data returns what the next messages carry.
func data(t testing.TB, s *client.Sub, n int) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for range n {
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		all = append(all, string(m.Data))
	}
	return all
}

func (tn *town) publish(topic string, data ...any) {
	tn.t.Helper()
	for _, d := range data {
		time.Sleep(time.Microsecond) // times differ
		if _, err := tn.s.Publish(topic, "e", "", d); err != nil {
			tn.t.Fatal(err)
		}
	}
}

// wrapped is a transport whose connections are wrapped.
type wrapped struct {
	transport.Transport
	wrap func(net.Conn) net.Conn
}

func (w wrapped) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := w.Transport.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return w.wrap(nc), nil
}

// says is a server that says something at once, then reads, and keeps what it has read.
type says struct {
	text string
	mu   sync.Mutex
	got  []byte
}

func (s *says) Serve(_ context.Context, c *transport.Conn) error {
	io.WriteString(c, s.text)
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		s.mu.Lock()
		s.got = append(s.got, b[:n]...)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (s *says) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.got)
}
