//go:build unix

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

// A socket that the parent process has opened, as the address "fd:N".
func ExampleTCP_Listen_inherited() {
	parent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer parent.Close()
	f, err := parent.(*net.TCPListener).File() // a parent passes it on by exec.Cmd.ExtraFiles
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()

	addr := fmt.Sprintf("fd:%d", f.Fd()) // in a child process it would be "fd:3"
	for range 2 {                        // after Close the socket is still open
		ln, err := transport.TCP{}.Listen(context.Background(), addr)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(ln.Addr().String() == parent.Addr().String())
		ln.Close()
	}

	_, err = transport.TCP{}.Listen(context.Background(), "systemd:web")
	if errors.Is(err, transport.ErrNotInherited) {
		fmt.Println("not started by a socket unit")
	}
	// Output:
	// true
	// true
	// not started by a socket unit
}

// pages sends a file, or a part of it, to each connection.
type pages struct{ dir string }

func (p pages) Serve(ctx context.Context, conn *transport.Conn) error {
	var name string
	var offset, length int64
	if _, err := fmt.Fscanln(conn, &name, &offset, &length); err != nil {
		return err
	}
	f, err := os.OpenInRoot(p.dir, name) // refuses names outside dir
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = conn.SendFile(f, offset, length, 0)
	return err
}

func ExampleConn_SendFile() {
	dir, err := os.MkdirTemp("", "pages")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte("0123456789"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	var tcp transport.TCP
	ln, err := tcp.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	for _, request := range []string{"page 0 0", "page 3 4", "page 8 100", "page 100 0"} {
		var server sync.WaitGroup
		server.Go(func() {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			conn := transport.NewConn(tcp, nc)
			defer conn.Close()
			if err := (pages{dir}).Serve(ctx, conn); err != nil {
				fmt.Println(err)
			}
		})
		client, err := tcp.Dial(ctx, listenaddr.String(ln.Addr()))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Fprintln(client, request)
		answer, _ := io.ReadAll(client)
		client.Close()
		server.Wait()
		fmt.Printf("%s: %q\n", request, answer)
	}
	// Output:
	// page 0 0: "0123456789"
	// page 3 4: "3456"
	// page 8 100: "89"
	// page 100 0: ""
}
