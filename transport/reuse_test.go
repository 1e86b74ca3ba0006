package transport_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

// The system gives the descriptor of a closed connection to the next one. A write that runs while
// its connection is closed, by whatever call, must not reach that next connection.
func TestWriteDoesNotReachNextConn(t *testing.T) {
	writes := map[string]func(c *transport.Conn, p []byte) error{
		"Write": func(c *transport.Conn, p []byte) error { _, err := c.Write(p); return err },
		"TryWrite": func(c *transport.Conn, p []byte) error {
			_, err := engine.Of(c).TryWrite(p)
			return err
		},
	}
	closes := []func(c *transport.Conn){
		func(c *transport.Conn) { c.Close() },
		(*transport.Conn).Abort,
		func(c *transport.Conn) { c.NetConn().Close() },
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			ln, err := transport.TCP{}.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			var wg sync.WaitGroup
			defer wg.Wait()
			for i := range 60 {
				peer, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				nc, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				id := byte(i)
				wg.Go(func() {
					defer peer.Close()
					checkOnly(t, peer, id)
				})
				c := transport.NewConn(transport.TCP{}, nc)
				writing := make(chan struct{})
				wg.Go(func() {
					p := []byte{id, id, id, id}
					write(c, p)
					close(writing)
					for range 1 << 20 { // until it fails, which it does soon
						if write(c, p) != nil {
							c.Close()
							return
						}
					}
					t.Error("got no error of writes to a closed connection, want one")
				})
				<-writing
				closes[i%len(closes)](c)
			}
		})
	}
}

// checkOnly reads until the end, and reports bytes other than id.
func checkOnly(t *testing.T, r io.Reader, id byte) {
	b := make([]byte, 4096)
	for {
		n, err := r.Read(b)
		for _, got := range b[:n] {
			if got != id {
				t.Errorf("connection %d: got a byte of connection %d, want its own", id, got)
				return
			}
		}
		if err != nil {
			return
		}
	}
}
