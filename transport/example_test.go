package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

// An echo server without package ranch.
func ExampleNewConn() {
	ctx := context.Background()
	var tcp transport.TCP

	ln, err := tcp.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()

	var server sync.WaitGroup
	server.Go(func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		conn := transport.NewConn(tcp, nc)
		defer conn.Close()
		if err := conn.Handshake(ctx); err != nil {
			return
		}
		io.Copy(conn, conn) // holds no buffer while the client is silent
		s := conn.Stats()
		fmt.Println("read", s.BytesRead, "wrote", s.BytesWritten)
	})

	client, err := tcp.Dial(ctx, listenaddr.String(ln.Addr()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	io.WriteString(client, "hello")
	client.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(client)
	server.Wait()
	fmt.Printf("%s\n", answer)
	// Output:
	// read 5 wrote 5
	// hello
}

// Options are validated before a socket is opened.
func ExampleTCP_Listen() {
	tcp := transport.TCP{
		Network:     "tcp4",
		Backlog:     512,
		KeepAlive:   time.Minute,
		SendTimeout: 10 * time.Second,
	}
	ln, err := tcp.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	fmt.Println(ln.Addr().Network())

	tcp.Network, tcp.Backlog = "udp", -1
	_, err = tcp.Listen(context.Background(), "127.0.0.1:0")
	fmt.Println(err != nil)
	// Output:
	// tcp
	// true
}

// A Unix socket to which only this user may connect.
func ExampleTCP_Listen_unix() {
	dir, err := os.MkdirTemp("", "ex")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "socket")
	ln, err := transport.TCP{UnixMode: 0o600}.Listen(context.Background(), "unix:"+path)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = os.Stat(path)
	fmt.Println("there:", err == nil)
	ln.Close()
	_, err = os.Stat(path)
	fmt.Println("there:", err == nil)
	// Output:
	// there: true
	// there: false
}

func ExampleTLS() {
	ctx := context.Background()
	_, err := transport.TLS{}.Listen(ctx, "127.0.0.1:0")
	fmt.Println(err)

	server := transport.TLS{Config: testTLS()}
	ln, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()

	var serving sync.WaitGroup
	serving.Go(func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		conn := transport.NewConn(server, nc)
		defer conn.Close()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := conn.Handshake(ctx); err != nil {
			return
		}
		state, _ := conn.TLS()
		fmt.Fprint(conn, tls.VersionName(state.Version))
	})

	client, err := transport.TLS{Config: testTLS()}.Dial(ctx, listenaddr.String(ln.Addr()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	version, _ := io.ReadAll(client)
	serving.Wait()
	fmt.Printf("%s\n", version)
	// Output:
	// no certificate: set Certificates, GetCertificate or GetConfigForClient
	// TLS 1.3
}

// StopReading ends the blocked read; the protocol can still send an answer.
func ExampleConn_StopReading() {
	ours, theirs := net.Pipe()
	conn := transport.NewConn(transport.TCP{}, ours)

	var protocol sync.WaitGroup
	protocol.Go(func() {
		defer conn.Close()
		_, err := io.Copy(io.Discard, conn)
		fmt.Fprintf(conn, "bye: %v", errors.Unwrap(err))
	})

	conn.StopReading(errors.New("we close at ten"))
	last, _ := io.ReadAll(theirs)
	protocol.Wait()
	fmt.Printf("%s\n", last)
	// Output: bye: we close at ten
}

func ExampleParseAddr() {
	for _, s := range []string{"127.0.0.1:8080", "[::1]:8080", "unix:/run/app.sock", "8080"} {
		network, address, err := transport.ParseAddr(s)
		fmt.Println(network, address, errors.Is(err, transport.ErrBadAddr))
	}
	// Output:
	// tcp 127.0.0.1:8080 false
	// tcp [::1]:8080 false
	// unix /run/app.sock false
	//   true
}

// Two sockets share a port, over which the kernel distributes connections.
func ExamplePortSharer() {
	ctx := context.Background()
	var tcp transport.PortSharer = transport.TCP{}
	first, err := tcp.ListenShared(ctx, "127.0.0.1:0")
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("shared: true") // this system cannot share ports
		return
	}
	defer first.Close()
	second, err := tcp.ListenShared(ctx, listenaddr.String(first.Addr()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer second.Close()
	fmt.Println("shared:", first.Addr().String() == second.Addr().String())
	// Output: shared: true
}
