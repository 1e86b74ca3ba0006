package transport_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"goranch/transport"
)

// The server chooses the configuration by the ClientHello.
func ExampleOnHello() {
	public := testTLS() // has a certificate
	internal := testTLS()
	internal.ClientAuth, internal.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	banned := errors.New("banned")

	tr := transport.TLS{Config: transport.OnHello(public, func(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Config, error) {
		host, _, _ := net.SplitHostPort(hello.Conn.RemoteAddr().String())
		switch {
		case host == "192.0.2.1":
			return nil, banned // errors.Is(err, banned) holds for the error of the handshake
		case hello.ServerName == "internal.test":
			return internal, nil
		case strings.HasSuffix(hello.ServerName, ".invalid"):
			return nil, transport.ErrUnknownHost // the client receives the alert unrecognized_name
		}
		return nil, nil // continue with public
	})}
	fmt.Println(tr.Validate())
	// Output: <nil>
}

// STARTTLS: a line in plain text is followed by TLS.
func ExampleConn_Upgrade() {
	secure := transport.TLS{Config: testTLS()}
	serve := func(ctx context.Context, conn *transport.Conn) error {
		line := make([]byte, len("STARTTLS\n"))
		if _, err := io.ReadFull(conn, line); err != nil { // without a buffer, which could read ahead
			return err
		}
		io.WriteString(conn, "go ahead\n")
		if err := conn.Upgrade(ctx, secure); err != nil {
			return err // nothing more is sent or read in plain text
		}
		_, encrypted := conn.TLS()
		fmt.Fprintf(conn, "secure: %v\n", encrypted)
		return nil
	}

	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		conn := transport.NewConn(transport.TCP{}, b)
		defer conn.Close()
		done <- serve(context.Background(), conn)
	}()
	io.WriteString(a, "STARTTLS\n")
	answer := make([]byte, len("go ahead\n"))
	io.ReadFull(a, answer)
	client := tls.Client(a, testTLS())
	line, _ := bufio.NewReader(client).ReadString('\n')
	fmt.Print(string(answer), line)
	fmt.Println(<-done)
	a.Close()
	// Output:
	// go ahead
	// secure: true
	// <nil>
}
