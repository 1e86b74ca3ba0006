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
