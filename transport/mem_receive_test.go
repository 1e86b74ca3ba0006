package transport_test

import (
	"io"
	"net"
	"testing"
	"time"

	"goranch/internal/engine"
)

// Receive is called with the data before and after it in order, and reports once that reads end.
func TestMemReceive(t *testing.T) {
	for name, end := range map[string]func(client, server net.Conn){
		"end of stream": func(_, server net.Conn) { server.(interface{ CloseWrite() error }).CloseWrite() },
		"close":         func(_, server net.Conn) { server.Close() },
		"own close":     func(client, _ net.Conn) { client.Close() },
		"deadline":      func(client, _ net.Conn) { client.SetReadDeadline(time.Now().Add(time.Millisecond)) },
		"past deadline": func(client, _ net.Conn) { client.SetReadDeadline(time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := memConns(t)
			defer client.Close()
			defer server.Close()
			server.Write(make([]byte, 40_000))
			io.ReadFull(client, make([]byte, 30_000))
			server.Write(make([]byte, 50_000)) // wraps around in the buffer
			io.WriteString(server, "before ")
			var got []byte
			ended := make(chan struct{}, 2)
			client.(engine.Receiver).Receive(func(b []byte) { got = append(got, b...) }, func() { ended <- struct{}{} })
			io.WriteString(server, "after")
			if n := len(got) - len("before after"); n != 60_000 || string(got[n:]) != "before after" {
				t.Errorf("got %d bytes, want 60000 and the text", len(got))
			}
			end(client, server)
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("got no end, want one")
			}
			server.Close()
			client.Close()
			time.Sleep(10 * time.Millisecond)
			if len(ended) > 0 {
				t.Error("got another end, want one")
			}
		})
	}
}
