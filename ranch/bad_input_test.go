package ranch_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

// secureTransports are the transports with a handshake that clients can fail.
func secureTransports() (all []testTransport) {
	for _, m := range testTransports() {
		if m.t.Secure() {
			all = append(all, m)
		}
	}
	return all
}

// dialPlain connects without a handshake.
func (m testTransport) dialPlain(t testing.TB, l *ranch.Listener) net.Conn {
	t.Helper()
	nc, err := m.plain().Dial(testContext(t), dialAddr(l))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// A thousand unfinished handshakes end exactly at the HandshakeTimeout, and delay no other client.
func TestThousandHalfOpenHandshakesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		server := transport.TLS{Config: testTLSConfig()}
		f := &fakeTransport{handshake: server.Handshake}
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 2 * n}, greetAndEcho)
		hello := clientHello(t)
		begin := time.Now()
		for i := range n {
			nc, err := f.Dial(t.Context(), dialAddr(l))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if i%2 == 0 { // the others send nothing
				if _, err := nc.Write(hello[:len(hello)/2]); err != nil {
					t.Fatal(err)
				}
			}
		}
		nc, err := f.Dial(t.Context(), dialAddr(l))
		if err != nil {
			t.Fatal(err)
		}
		good := &client{nc: tls.Client(nc, testTLSConfig())}
		defer nc.Close()
		io.ReadFull(good.nc, make([]byte, 1))
		good.checkEcho(t)
		if got := time.Since(begin); got != 0 {
			t.Errorf("other client: got served after %v, want 0", got)
		}
		for _, e := range rec.wait(t, ranch.ConnEnded, n) {
			if e.Reason != conns.HandshakeTimeout || e.Duration != 5*time.Second {
				t.Fatalf("got %v after %v, want %v after 5s", e.Reason, e.Duration, conns.HandshakeTimeout)
			}
		}
		good.checkEcho(t)
		if i := l.Info(); i.ActiveConnections != 1 || i.HandshakeFailed != n {
			t.Errorf("got %s, want 1 active connection and %d failed handshakes", pretty(i), n)
		}
	})
}

// A thousand unfinished handshakes delay no other client on real sockets either.
func TestThousandHalfOpenHandshakes(t *testing.T) {
	for _, m := range secureTransports() {
		t.Run(m.name, func(t *testing.T) {
			const n = 1000
			opts := ranch.Options{Addr: m.addr(t), MaxConnections: 2 * n, HandshakeTimeout: time.Hour}
			l, rec := m.startListener(t, opts, greetAndEcho)
			hello := clientHello(t)
			for i := range n {
				nc := m.dialPlain(t, l)
				if i%2 == 0 { // the others send nothing
					if _, err := nc.Write(hello[:len(hello)/2]); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := l.WaitForConnections(testContext(t), ranch.Equal, n); err != nil {
				t.Fatal(err)
			}
			good := m.servedClients(t, l, 10)
			for _, v := range good {
				v.checkEcho(t)
			}
			if i := l.Info(); i.ActiveConnections != n+10 || i.Terminated != 0 {
				t.Errorf("got %s, want %d active connections", pretty(i), n+10)
			}
			// The new timeout applies to later connections only.
			opts.HandshakeTimeout = 50 * time.Millisecond
			if _, err := l.SetOptions(nil, opts); err != nil {
				t.Fatal(err)
			}
			late := make([]net.Conn, 20)
			for i := range late {
				late[i] = m.dialPlain(t, l)
			}
			for _, e := range rec.wait(t, ranch.ConnEnded, len(late)) {
				if e.Reason != conns.HandshakeTimeout || e.Served {
					t.Errorf("silent client: got reason %v, %v, want %v", e.Reason, e.Err, conns.HandshakeTimeout)
				}
			}
			for _, nc := range late {
				nc.SetDeadline(time.Now().Add(testTimeout))
				if _, err := io.ReadAll(nc); isTimeout(err) {
					t.Error("got an open connection of a silent client, want it closed")
				}
			}
			for _, v := range good {
				v.checkEcho(t)
			}
			if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil { // it ends handshakes at once
				t.Error(err)
			}
		})
	}
}

// clientHello returns the first flight of a TLS client.
func clientHello(t testing.TB) []byte {
	t.Helper()
	client, server := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tls.Client(client, testTLSConfig()).HandshakeContext(ctx)
	}()
	buf := make([]byte, 4096)
	n, err := server.Read(buf)
	cancel()
	server.Close()
	<-done
	if err != nil || n < 100 {
		t.Fatalf("got a ClientHello of %d bytes, %v", n, err)
	}
	return buf[:n]
}

// Clients that violate the handshake cost their own connection, which has the right reason, and
// nothing else.
func TestFailedHandshakes(t *testing.T) {
	hello := clientHello(t)
	for _, c := range []struct {
		name string
		do   func(t *testing.T, nc net.Conn)
		want conns.Reason
	}{
		{"resets at once", func(_ *testing.T, nc net.Conn) { resetConn(nc) }, conns.HandshakeFailed},
		{"closes at once", func(_ *testing.T, nc net.Conn) { nc.Close() }, conns.HandshakeFailed},
		{"resets in its hello", func(_ *testing.T, nc net.Conn) { nc.Write(hello[:50]); resetConn(nc) }, conns.HandshakeFailed},
		{"resets after its hello", func(_ *testing.T, nc net.Conn) {
			nc.Write(hello)
			io.ReadFull(nc, make([]byte, 100)) // part of the server's answer
			resetConn(nc)
		}, conns.HandshakeFailed},
		{"sends plain text", func(_ *testing.T, nc net.Conn) { io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }, conns.HandshakeFailed},
		{"sends garbage", func(_ *testing.T, nc net.Conn) { nc.Write(make([]byte, 1000)) }, conns.HandshakeFailed},
		{"sends nothing", func(*testing.T, net.Conn) {}, conns.HandshakeTimeout},
		{"sends too slowly", func(t *testing.T, nc net.Conn) {
			t.Cleanup(func() { nc.Close() })
			go func() {
				for _, b := range hello {
					if _, err := nc.Write([]byte{b}); err != nil {
						return
					}
					<-time.After(10 * time.Millisecond)
				}
			}()
		}, conns.HandshakeTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, m := range secureTransports() {
				t.Run(m.name, func(t *testing.T) {
					const n = 5
					limit := time.Hour
					if c.want == conns.HandshakeTimeout {
						limit = 100 * time.Millisecond
					}
					l, rec := m.startListener(t, ranch.Options{MaxConnections: n, HandshakeTimeout: time.Hour}, greetAndEcho)
					good := m.servedClients(t, l, 1)[0]
					opts := l.Options()
					opts.HandshakeTimeout, opts.MaxConnections = limit, n+1
					if _, err := l.SetOptions(nil, opts); err != nil {
						t.Fatal(err)
					}
					for range n {
						c.do(t, m.dialPlain(t, l))
					}
					for _, e := range rec.wait(t, ranch.ConnEnded, n) {
						if e.Reason != c.want || e.Served || e.Err == nil {
							t.Errorf("got reason %v, served %v, error %v, want %v and an error", e.Reason, e.Served, e.Err, c.want)
						}
					}
					i := l.Info()
					if i.HandshakeFailed != n || i.Served != 0 || i.ActiveConnections != 1 || i.AcceptErrors != 0 {
						t.Errorf("got %s, want %d failed handshakes and 1 active connection", pretty(i), n)
					}
					if diff := cmp.Diff(map[conns.Reason]uint64{c.want: n}, i.Reasons); diff != "" {
						t.Errorf("reasons (-want +got):\n%s", diff)
					}
					good.checkEcho(t)
					opts.HandshakeTimeout = time.Hour // handshakes may take long on a busy machine
					if _, err := l.SetOptions(nil, opts); err != nil {
						t.Fatal(err)
					}
					m.servedClients(t, l, 3)
				})
			}
		})
	}
}

// Connections that are reset in the queue are accepted, end at once, and do not stop others.
func TestResetInTheQueue(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		const n = 20
		l, rec := m.startListener(t, ranch.Options{MaxConnections: 1}, greetAndEcho)
		in := m.servedClients(t, l, 1)[0]
		waitAllWaiting(t, l)
		for range n {
			resetConn(m.dialPlain(t, l))
		}
		last := m.newClient(t, l)
		in.close()
		last.waitServed(t).checkEcho(t)
		if i := l.Info(); i.ActiveConnections != 1 || i.PeakConnections != 1 || rec.count(ranch.AcceptFailed) != 0 {
			t.Errorf("got %s, want 1 active connection and a peak of 1", pretty(i))
		}
	})
}

// Invalid data of any size ends no other connection.
func TestInvalidData(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{MaxConnections: 5}, greetAndEcho)
		good := m.servedClients(t, l, 2)
		for size := 64; size <= 1<<20; size *= 8 { // more than the header of a TLS record
			nc := m.dialPlain(t, l)
			nc.SetDeadline(time.Now().Add(testTimeout))
			var sent sync.WaitGroup
			sent.Go(func() { nc.Write(make([]byte, size)) })
			nc.Read(make([]byte, 1)) // the greeting, or a TLS alert
			resetConn(nc)
			sent.Wait()
		}
		waitActive(t, l, 2)
		for _, v := range append(good, m.servedClients(t, l, 3)...) {
			v.checkEcho(t)
		}
	})
}
