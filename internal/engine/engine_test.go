package engine_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
	"goranch/transport/proxy"
)

// Package transport implements the operations of this package.
func Example() {
	mem := new(transport.Mem)
	ln, err := mem.Listen(context.Background(), "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	client, err := mem.Dial(context.Background(), "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	nc, err := ln.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}

	var conn transport.Conn
	engine.Init(&conn, mem, nc, "owner")
	defer conn.Close()
	client.Write([]byte("hello"))
	r := engine.Of(&conn).PooledReader(nil)
	defer r.Release()
	data, err := r.Next(engine.ReadSize)
	fmt.Printf("%v read %q, %v\n", engine.Of(&conn).Owner(), data, err)
	n, err := engine.Of(&conn).TryWrite([]byte("answer"))
	fmt.Println(n, err)
	// Output:
	// owner read "hello", <nil>
	// 6 <nil>
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		name string
		t    transport.Transport
		want bool
	}{
		{"TCP", transport.TCP{}, true},
		{"*TCP", &transport.TCP{}, true},
		{"Mem", new(transport.Mem), true},
		{"TLS", transport.TLS{}, false},
		{"proxy", proxy.Transport{Inner: transport.TCP{}}, false},
	} {
		if got := engine.Plain(c.t); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestStepsOf(t *testing.T) {
	for _, c := range []struct {
		name string
		t    transport.Transport
		want bool
	}{
		{"TCP", transport.TCP{}, false},
		{"TLS", transport.TLS{}, true},
		{"*TLS", &transport.TLS{}, true},
	} {
		if s, got := engine.StepsOf(c.t); got != c.want || (s.Connect != nil) != c.want || (s.Client != nil) != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRebind(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	for addr, want := range map[string]string{
		":0":   "127.0.0.1:8080",
		"":     "127.0.0.1:8080",
		"fd:3": "fd:3", // the descriptor cannot be replaced by a new socket
		"mem":  "127.0.0.1:8080",
	} {
		if got := engine.Rebind(addr, bound); got != want {
			t.Errorf("%q: got %q, want %q", addr, got, want)
		}
	}
}

// wrapper hides all methods of a transport but those of Transport.
type wrapper struct{ transport.Transport }

func (w wrapper) Unwrap() transport.Transport { return w.Transport }

func TestBehindProxy(t *testing.T) {
	behind := proxy.Transport{Inner: transport.TCP{}, Default: proxy.Require}
	peer := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for _, c := range []struct {
		name string
		t    transport.Transport
		want bool
	}{
		{"proxy", behind, true},
		{"pointer", &behind, true},
		{"wrapped", wrapper{behind}, true},
		{"not trusted", proxy.Transport{Inner: transport.TCP{}}, false},
		{"TCP", transport.TCP{}, false},
	} {
		if got := engine.BehindProxy(c.t, peer); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
