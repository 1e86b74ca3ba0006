package faults_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/faults"
	"goranch/ranch"
	"goranch/transport"
)

var loopback = flag.Uint64("loopback", 3, "`number` of schedules over sockets; each takes about 0.1 s")

// TestLoopback executes schedules over sockets of the loopback interface, through a proxy: the same
// contracts hold where the kernel buffers, parks and resets.
func TestLoopback(t *testing.T) {
	for n := *first; n < *first+*loopback; n++ {
		t.Run(fmt.Sprint("seed ", n), func(t *testing.T) {
			t.Parallel()
			if wrong := runLoopback(n); len(wrong) > 0 {
				t.Errorf("seed %d:\n%s", n, strings.Join(wrong, "\n"))
			}
		})
	}
}

// sockets is a listener on a socket, with a proxy before it.
type sockets struct {
	src    *faults.Source
	t      *faults.Transport
	l      *ranch.Listener
	led    *ledger
	faults faultList
	proxy  net.Listener
}

func runLoopback(seed uint64) []string {
	w := &sockets{src: faults.NewSource(seed).Derive(3)}
	plan := newListenerPlan(w.src, 0)
	opts := plan.opts
	opts.Addr, opts.NumListenSockets, opts.Logger = "127.0.0.1:0", 1, discard
	opts.AcceptRate.PerSecond, opts.DrainDelay, opts.DrainSpread = 0, 0, 0
	// The slot of a connection that is refused after its start is released before that can be seen.
	opts.MaxUnestablished, opts.PerAddress, opts.AddressRate.PerSecond = 0, 0, 0
	opts.ShutdownTimeout = faults.Pick(w.src, ranch.BrutalKill, 20*time.Millisecond)
	bare := transport.TCP{}
	w.t = faults.NewTransport(bare, w.src.Derive(1), faults.Options{Bare: true})
	w.led = newLedger("loopback", true, opts.MaxConnections, nil, &w.faults)
	opts.Observer = w.led.observe
	srv := newServer(w.led, w.src.Derive(2))
	var server ranch.Server
	var err error
	if w.l, err = server.StartListener("loopback", plainTCP{w.t}, opts, srv.protocol(plan.protocols[0])); err != nil {
		return []string{err.Error()}
	}
	w.t.Set(faults.Rates{Accept: 0.1 * float64(w.src.IntN(2))})
	if w.proxy, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return []string{err.Error()}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		stream := randomStream(w.src)
		stream.Stall = 0
		p := faults.Proxy{Source: w.src.Derive(4), Stream: stream, Dial: func(ctx context.Context) (net.Conn, error) { return bare.Dial(ctx, w.l.Addr().String()) }}
		p.Serve(w.proxy)
	})
	w.load(plan, srv)
	w.proxy.Close()
	wg.Wait()
	if err := w.l.Stop(); err != nil {
		w.led.wrong("stop: got %v, want nil", err)
	}
	i := w.l.Info()
	w.led.checkMonotonic(i)
	w.led.checkStopped(i, w.t.Accepted())
	return w.faults.all
}

// plainTCP is a transport without a handshake.
type plainTCP struct{ *faults.Transport }

func (plainTCP) Adopted(string) (string, bool) { return "", false }
func (plainTCP) Unwrap() transport.Transport   { return transport.TCP{} }

// load connects clients and changes the listener for a while.
func (w *sockets) load(plan listenerPlan, srv *server) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	var limits sync.Mutex
	for i := 0; ctx.Err() == nil; i++ {
		o := newOp(w.src, 1)
		switch o.kind {
		case "connect", "burst":
			addr := w.proxy.Addr().String()
			if o.b%2 == 0 {
				addr = w.l.Addr().String()
			}
			c := &client{behaviour: clientBehaviours[o.a%len(clientBehaviours)], size: o.b, src: w.src.Derive(uint64(1000 + i)), served: make(chan struct{})}
			wg.Go(func() {
				c.run(ctx, func(ctx context.Context, c *client) (err error) {
					c.nc, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
					return err
				})
				for _, f := range c.wrong {
					w.led.wrong("%s client: %s", c.behaviour, f)
				}
			})
		case "cap":
			limits.Lock()
			w.led.cap.change(max(o.a%7, 1), func() { w.l.SetMaxConnections(max(o.a%7, 1)) })
			limits.Unlock()
		case "suspend":
			w.l.Suspend()
			w.l.Resume()
		case "kill":
			w.l.Kill(o.query(w.l))
		case "end":
			w.l.End(o.query(w.l))
		case "protocol":
			w.l.SetProtocol(srv.protocol(plan.protocols[o.a%len(plan.protocols)]))
		case "sockets":
			w.t.CloseSockets()
		default:
			w.led.checkMonotonic(w.l.Info())
		}
		sleep(ctx, w.src.Between(0, 5*time.Millisecond))
	}
}
