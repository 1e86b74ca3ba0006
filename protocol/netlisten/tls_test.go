package netlisten_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

// acceptTLS returns a connection as Accept returns it, and its client.
func acceptTLS(t *testing.T, nl *netlisten.Listener, l *ranch.Listener, protos ...string) (server, client net.Conn) {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		nc, err := nl.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- nc
	}()
	client = dial(t, clientTLS(protos...), l.Addr().String())
	return receive(t, "accepted connection", accepted), client
}

// Over TLS the accepted connection is a *tls.Conn, whatever protocol was negotiated. Its traffic is
// counted, and it keeps its slot until it is closed.
func TestTLSConn(t *testing.T) {
	for name, protos := range map[string][]string{"without ALPN": nil, "HTTP/1.1": {"http/1.1"}, "HTTP/2": {"h2"}} {
		t.Run(name, func(t *testing.T) {
			nl := netlisten.New(netlisten.Options{})
			defer nl.Close()
			l := startListener(t, transport.TLS{Config: serverTLS("h2", "http/1.1")}, ranch.Options{}, nl)
			nc, client := acceptTLS(t, nl, l, protos...)
			tc, ok := nc.(*tls.Conn)
			if !ok {
				t.Fatalf("Accept: got a %T, want a *tls.Conn", nc)
			}
			state := tc.ConnectionState()
			if !state.HandshakeComplete || len(protos) > 0 && state.NegotiatedProtocol != protos[0] {
				t.Errorf("got the state %+v, want a complete handshake for %v", state, protos)
			}
			conn := transport.Of(tc)
			if conn == nil {
				t.Fatal("transport.Of: got nil, want the connection")
			}
			before := conn.Stats()
			if before.BytesRead == 0 || before.BytesWritten == 0 {
				t.Errorf("got %+v, want the handshake counted", before)
			}
			const size = 100_000
			go client.Write(make([]byte, size))
			if _, err := io.ReadFull(tc, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			received := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(client, make([]byte, size))
				received <- err
			}()
			if _, err := tc.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if err := receive(t, "data at the client", received); err != nil {
				t.Fatal(err)
			}
			st := conn.Stats()
			for what, n := range map[string]uint64{"read": st.BytesRead - before.BytesRead, "written": st.BytesWritten - before.BytesWritten} {
				if n < size || n > size+size/50 { // the overhead of records
					t.Errorf("got %d bytes %s, want a little more than %d", n, what, size)
				}
			}
			if n := l.Info().ActiveConnections; n != 1 {
				t.Errorf("got %d active connections, want 1", n)
			}
			tc.Close()
			if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
				t.Error(err)
			}
			if i := l.Info(); i.BytesRead < size || i.BytesWritten < size {
				t.Errorf("got %d and %d bytes of the listener, want at least %d", i.BytesRead, i.BytesWritten, size)
			}
		})
	}
}

// A *tls.Conn is ended by the time limits of the listener and by operators, with the cause as the
// error of its reads.
func TestTLSConnIsLimited(t *testing.T) {
	for want, c := range map[conns.Reason]struct {
		limits conns.Limits
		end    func(*ranch.Listener)
	}{
		conns.IdleTimeout:  {conns.Limits{IdleTimeout: 50 * time.Millisecond}, func(*ranch.Listener) {}},
		conns.Expired:      {conns.Limits{Lifetime: 50 * time.Millisecond}, func(*ranch.Listener) {}},
		conns.EndRequested: {conns.Limits{}, func(l *ranch.Listener) { l.End(conns.Query{}) }},
		conns.Killed:       {conns.Limits{}, func(l *ranch.Listener) { l.Kill(conns.Query{}) }},
	} {
		t.Run(want.Error(), func(t *testing.T) {
			nl := netlisten.New(netlisten.Options{})
			defer nl.Close()
			l := startListener(t, transport.TLS{Config: serverTLS("h2")}, ranch.Options{}, nl)
			nc, _ := acceptTLS(t, nl, l, "h2")
			if _, err := l.ChangeOptions(func(o *ranch.Options) { o.Limits = c.limits }); err != nil {
				t.Fatal(err)
			}
			c.end(l)
			_, err := nc.Read(make([]byte, 1))
			if err == nil || want != conns.Killed && !errors.Is(err, want) {
				t.Errorf("Read: got %v, want an error that wraps %v", err, want)
			}
			nc.Close()
			if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
				t.Error(err)
			}
			if i := l.Info(); i.Reasons[want] != 1 {
				t.Errorf("got ends %v, want 1 of %v", i.Reasons, want)
			}
		})
	}
}

// A deadline cannot be removed from a connection that was closed.
func TestTLSConnDeadlineAfterClose(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	l := startListener(t, transport.TLS{Config: serverTLS()}, ranch.Options{}, nl)
	server, client := acceptTLS(t, nl, l)
	go io.Copy(io.Discard, client)
	server.Close()
	for name, set := range map[string]func(time.Time) error{"read": server.SetReadDeadline, "write": server.SetWriteDeadline} {
		if err := set(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s deadline: got %v, want %v", name, err, net.ErrClosed)
		}
	}
}
