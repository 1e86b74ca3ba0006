package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

var quiet = slog.New(slog.DiscardHandler)

// A server behind a proxy on this machine. Dial plays the proxy.
func Example() {
	behind := proxy.Transport{
		Inner: transport.TCP{}, // or TLS: the header comes before it
		Rules: []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8")}},
	}
	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		host, _ := proxy.Authority(conn.Proxy())
		_, err := fmt.Fprintf(conn, "hello, %v, this is %s\n", conn.RemoteAddr(), host)
		return err
	})
	l, err := ranch.StartListener("hello", behind, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, hello)
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("hello")

	behind.Header = &transport.ProxyHeader{
		Source:      net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:50000")),
		Destination: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("198.51.100.1:443")),
		TLVs:        []transport.TLV{{Type: proxy.TypeAuthority, Value: []byte("example.org")}},
	}
	nc, err := behind.Dial(context.Background(), l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	answer, _ := io.ReadAll(nc)
	fmt.Printf("%s", answer)
	// Output:
	// hello, 192.0.2.1:50000, this is example.org
}

// A proxy, which tells the server behind it of its clients.
func ExampleForward() {
	behind := proxy.Transport{Inner: transport.TCP{}, Rules: []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8")}}}
	hello := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		_, err := fmt.Fprint(conn, conn.RemoteAddr())
		return err
	})
	server, err := ranch.StartListener("server", behind, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, hello)
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("server")
	backend := server.Addr().String()

	relay := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		t := proxy.Transport{Inner: transport.TCP{}, Header: proxy.Forward(conn)}
		out, err := t.Dial(ctx, backend)
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = io.Copy(conn, out) // one direction, to be brief
		return err
	})
	front, err := ranch.StartListener("front", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, relay)
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("front")

	nc, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	answer, err := io.ReadAll(nc)
	fmt.Println("the server knows the client:", string(answer) == nc.LocalAddr().String(), err)
	// Output:
	// the server knows the client: true <nil>
}

// Everything that is wrong is said at once.
func ExampleTransport_Validate() {
	err := proxy.Transport{Rules: []proxy.Rule{{}}, MaxHeaderBytes: 100}.Validate()
	fmt.Println(err)
	// Output:
	// option Rules[0].Net invalid Prefix: allowed are networks such as 10.0.0.0/8 and 2001:db8::/32
	// option Inner nil: a transport is needed, such as transport.TCP{}
	// option MaxHeaderBytes 100: allowed are 216 to 65520, and 0 for 4096
}

// Who sends a header without being trusted is turned away.
func ExampleTransport_Handshake() {
	t := proxy.Transport{Inner: transport.TCP{}}
	client, nc := net.Pipe()
	go io.WriteString(client, "PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n")
	_, err := t.Handshake(context.Background(), nc)
	fmt.Println(errors.Is(err, proxy.ErrRefused), err)
	nc.Close()
	client.Close()
	// Output:
	// true PROXY header from pipe: the peer is not trusted to send one
}
