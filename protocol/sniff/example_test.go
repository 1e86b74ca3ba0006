package sniff_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"

	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/sniff"
	"goranch/ranch"
	"goranch/transport"
)

// Example is the code of the guide; TestGuideShowsTheExamples compares them.
func Example() {
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	config := &tls.Config{Certificates: ts.TLS.Certificates}
	web, ssh := greet("web"), greet("ssh")
	opts := ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}

	mux, err := sniff.New(sniff.Config{
		Rules: []sniff.Rule{
			{Name: "tls", Match: sniff.TLS(), Protocol: &sniff.Upgrade{To: transport.TLS{Config: config}, Protocol: web}},
			{Name: "http", Match: sniff.HTTP1(), Protocol: web},
			{Name: "ssh", Match: sniff.SSH(), Protocol: ssh},
		},
		Default: echo.Protocol{}, // nil ends the others with sniff.ErrNoMatch
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := ranch.StartListener("all", transport.TCP{}, opts, mux)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop()

	plain, secure := transport.TCP{}, transport.TLS{Config: &tls.Config{InsecureSkipVerify: true}}
	fmt.Println(ask(plain, l.Addr().String(), "GET / HTTP/1.1\r\n\r\n"))
	fmt.Println(ask(secure, l.Addr().String(), "GET / HTTP/1.1\r\n\r\n"))
	fmt.Println(ask(plain, l.Addr().String(), "SSH-2.0-client\r\n"))
	fmt.Println(ask(plain, l.Addr().String(), "anything else"))
	// Output:
	// web over TLS: false
	// web over TLS: true
	// ssh over TLS: false
	// anything else
}

// Example_serverNames passes TLS connections on to two servers by their server name, and serves the
// others itself. The servers behind have the certificates.
func Example_serverNames() {
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	config := &tls.Config{Certificates: ts.TLS.Certificates}
	opts := ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
	var behind [2]protocol.Protocol
	for i := range behind {
		l, err := ranch.StartListener(fmt.Sprint("behind", i), transport.TLS{Config: config}, opts, greet(fmt.Sprint("server ", i)))
		if err != nil {
			fmt.Println(err)
			return
		}
		defer l.Stop()
		behind[i] = forward(l.Addr().String())
	}

	routes, err := sniff.TLSRoutes(
		sniff.Route{ServerNames: []string{"shop.example", "*.shop.example"}, Protocol: behind[0]},
		sniff.Route{ServerNames: []string{"*.example"}, ALPN: []string{"imap"}, Protocol: behind[1]},
		sniff.Route{Protocol: &sniff.Upgrade{To: transport.TLS{Config: config}, Protocol: greet("web")}},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux, err := sniff.New(sniff.Config{Rules: []sniff.Rule{{Name: "tls", Select: routes}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := ranch.StartListener("names", transport.TCP{}, opts, mux)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop()

	for _, c := range []*tls.Config{
		{ServerName: "SHOP.example"},
		{ServerName: "a.b.shop.example", NextProtos: []string{"imap"}},
		{ServerName: "mail.example", NextProtos: []string{"imap"}},
		{ServerName: "mail.example"},
	} {
		c.InsecureSkipVerify = true
		fmt.Println(ask(transport.TLS{Config: c}, l.Addr().String(), "hello"))
	}
	// Output:
	// server 0 over TLS: true
	// server 0 over TLS: true
	// server 1 over TLS: true
	// web over TLS: true
}

// forward returns a protocol that passes all data on to a server, and back.
func forward(addr string) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		up, err := transport.TCP{}.Dial(ctx, addr)
		if err != nil {
			return err
		}
		defer up.Close()
		go func() {
			io.Copy(up, conn) // begins with the ClientHello
			up.(interface{ CloseWrite() error }).CloseWrite()
		}()
		_, err = io.Copy(conn, up)
		return err
	})
}

// ExampleTable selects by the first byte of a connection.
func ExampleTable() {
	table, err := sniff.Table(map[string]protocol.Protocol{"\x01": greet("login"), "\x02": greet("status")})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux, err := sniff.New(sniff.Config{Rules: []sniff.Rule{{Name: "devices", Select: table}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	opts := ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
	l, err := ranch.StartListener("devices", transport.TCP{}, opts, mux)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop()

	fmt.Println(ask(transport.TCP{}, l.Addr().String(), "\x02"))
	fmt.Println(ask(transport.TCP{}, l.Addr().String(), "\x01"))
	// Output:
	// status over TLS: false
	// login over TLS: false
}

// greet returns a protocol that sends its name, and whether the connection uses TLS.
func greet(name string) protocol.Protocol {
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		_, secure := conn.TLS()
		if _, err := fmt.Fprintf(conn, "%s over TLS: %t", name, secure); err != nil {
			return err
		}
		conn.CloseWrite()
		_, err := io.Copy(io.Discard, conn)
		return err
	})
}

// ask sends a request, and returns the answer or the error.
func ask(t transport.Transport, addr, request string) string {
	nc, err := t.Dial(context.Background(), addr)
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	io.WriteString(nc, request)
	nc.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := io.ReadAll(nc)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}
