package relay_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"goranch/protocol/echo"
	"goranch/protocol/relay"
	"goranch/ranch"
	"goranch/transport"
)

// A relay in front of two servers, of which one does not run.
func Example() {
	opts := ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
	var s ranch.Server
	server, err := s.StartListener("echo", transport.TCP{}, opts, echo.Protocol{})
	if err != nil {
		panic(err)
	}
	defer server.Stop()

	r, err := relay.New(relay.Options{
		Upstreams: []relay.Upstream{{Addr: "127.0.0.1:1"}, {Addr: server.Addr().String()}},
		Check:     relay.Check{Interval: 2 * time.Second},
	})
	if err != nil {
		panic(err)
	}
	defer r.Close(context.Background())
	front, err := s.StartListener("front", transport.TCP{}, opts, r)
	if err != nil {
		panic(err)
	}
	defer front.Stop()

	nc, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	fmt.Fprint(nc, "hello")
	nc.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(nc)
	fmt.Printf("%s %v\n", answer, err)
	// Output: hello <nil>
}
