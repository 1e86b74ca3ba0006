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

// A server behind a proxy on this machine. Dial acts as the proxy.
func Example() {
	behind := proxy.Transport{
		Inner: transport.TCP{}, // or TLS: the header is read before it
		Rules: []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8")}},
	}
	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		host := proxy.DetailsOf(conn.Proxy()).Authority
		_, err := fmt.Fprintf(conn, "hello, %v, this is %s\n", conn.RemoteAddr(), host)
		return err
	})
	l, err := ranch.StartListener("hello", behind, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, hello)
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("hello")

	tlvs, err := proxy.Details{Authority: "example.org"}.TLVs()
	if err != nil {
		log.Fatal(err)
	}
	behind.Header = &transport.ProxyHeader{
		Source:      net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:50000")),
		Destination: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("198.51.100.1:443")),
		TLVs:        tlvs,
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

// A proxy that passes the addresses of its clients on to a server.
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

	front := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		t := proxy.Transport{Inner: transport.TCP{}, Header: proxy.Forward(conn)}
		out, err := t.Dial(ctx, backend)
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = io.Copy(conn, out) // copies one direction only
		return err
	})
	l, err := ranch.StartListener("front", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, front)
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("front")

	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	answer, err := io.ReadAll(nc)
	fmt.Println("the server has the address of the client:", string(answer) == nc.LocalAddr().String(), err)
	// Output:
	// the server has the address of the client: true <nil>
}

// Validate reports all faults at once.
func ExampleTransport_Validate() {
	err := proxy.Transport{Rules: []proxy.Rule{{}}, MaxHeaderBytes: 100}.Validate()
	fmt.Println(err)
	// Output:
	// option Rules[0].Net invalid Prefix: allowed are networks such as 10.0.0.0/8 and 2001:db8::/32
	// option Inner nil: allowed are transports, such as transport.TCP{}
	// option MaxHeaderBytes 100: allowed are 216 to 65520, and 0 for 4096
}

// A header from a peer that is not trusted is refused.
func ExampleTransport_Handshake() {
	t := proxy.Transport{Inner: transport.TCP{}}
	client, nc := net.Pipe()
	go io.WriteString(client, "PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n")
	_, err := t.Handshake(context.Background(), nc)
	fmt.Println(errors.Is(err, proxy.ErrRefused), err)
	nc.Close()
	client.Close()
	// Output:
	// true PROXY header from pipe: the peer is not trusted to send a header
}
