package main

import (
	"crypto/tls"
	"net"
	"time"
)

func init() {
	register(engine{
		name: "bare", about: "net.Listen, a goroutine per connection, a 4 KiB buffer, read, write",
		tls: true, start: startBare(4 << 10),
	})
	register(engine{
		name: "bare32k", about: "bare with a 32 KiB buffer",
		tls: true, only: "echo-16k-64", start: startBare(32 << 10),
	})
}

func startBare(bufSize int) func(serveConfig) (string, error) {
	return func(cfg serveConfig) (string, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		go acceptLoop(withTLS(ln, cfg), bufSize)
		return ln.Addr().String(), nil
	}
}

// withTLS returns a TLS listener if the configuration requires TLS.
func withTLS(ln net.Listener, cfg serveConfig) net.Listener {
	if cfg.tls == nil {
		return ln
	}
	return tls.NewListener(ln, cfg.tls)
}

func acceptLoop(ln net.Listener, bufSize int) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			time.Sleep(time.Millisecond) // no free descriptor, or the peer has closed: the result of the run shows it
			continue
		}
		go echoLoop(conn, bufSize)
	}
}

func echoLoop(conn net.Conn, bufSize int) {
	defer conn.Close()
	buf := make([]byte, bufSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// serveEach listens on plain TCP and runs serve in a new goroutine for each connection.
func serveEach(serve func(*net.TCPConn)) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				time.Sleep(time.Millisecond) // as in acceptLoop
				continue
			}
			go func() {
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			}()
		}
	}()
	return ln.Addr().String(), nil
}
