package transport_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/internal/engine"
	"goranch/internal/listenaddr"
	"goranch/transport"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		t      transport.Transport
		name   string
		secure bool
		plain  bool
	}{
		{transport.TCP{}, "tcp", false, true},
		{&transport.TCP{}, "tcp", false, true},
		{transport.TLS{}, "tls", true, false},
		{&transport.TLS{}, "tls", true, false},
	} {
		if tt.t.Name() != tt.name || tt.t.Secure() != tt.secure || engine.Plain(tt.t) != tt.plain {
			t.Errorf("%T: got name %q, secure %v, plain %v, want %q, %v, %v", tt.t, tt.t.Name(), tt.t.Secure(), engine.Plain(tt.t), tt.name, tt.secure, tt.plain)
		}
	}
	// An unknown transport may wait for its peer in Handshake.
	if engine.Plain(struct{ transport.Transport }{transport.TCP{}}) {
		t.Error("unknown transport: got plain, want not plain")
	}
}

// All faults are reported at once, with their values, and no socket is opened.
func TestValidateReportsAllFaults(t *testing.T) {
	bad := transport.TCP{
		Network:     "udp",
		Backlog:     -1,
		ReadBuffer:  -2,
		WriteBuffer: -3,
		UnixMode:    fs.ModeSetuid | 0o600,
	}
	for _, tr := range []transport.Transport{bad, transport.TLS{Config: testTLS(), TCP: bad}} {
		err := tr.(interface{ Validate() error }).Validate()
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) != 5 {
			t.Fatalf("%s: got %v, want 5 joined errors", tr.Name(), err)
		}
		for _, want := range []string{`Network "udp"`, "Backlog -1", "ReadBuffer -2", "WriteBuffer -3", "UnixMode " + bad.UnixMode.String()} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got no fault of %q, want one:\n%v", tr.Name(), want, err)
			}
		}
		if ln, lerr := tr.Listen(t.Context(), "127.0.0.1:0"); lerr == nil {
			ln.Close()
			t.Errorf("%s: Listen with faulty options: got no error, want that of Validate", tr.Name())
		} else if lerr.Error() != err.Error() {
			t.Errorf("%s: Listen: got %v, want that of Validate: %v", tr.Name(), lerr, err)
		}
		if nc, derr := tr.Dial(t.Context(), "127.0.0.1:1"); derr == nil {
			nc.Close()
			t.Errorf("%s: Dial with faulty options: got no error, want that of Validate", tr.Name())
		} else if derr.Error() != err.Error() {
			t.Errorf("%s: Dial: got %v, want that of Validate: %v", tr.Name(), derr, err)
		}
	}
}

// Values that the kernel does not accept are refused by both ends, and are neither reduced nor
// ignored.
func TestValidateReportsTooLargeValues(t *testing.T) {
	for want, bad := range map[string]transport.TCP{
		"KeepAlive 9h6m8s":          {KeepAlive: 32768 * time.Second},
		"KeepAliveInterval 9h6m8s":  {KeepAliveInterval: 32768 * time.Second},
		"KeepAlive 2562047h47m16.8": {KeepAlive: math.MaxInt64},
		"KeepAliveCount 128":        {KeepAliveCount: 128},
		"Linger 32768":              {Linger: 32768},
		"DeferAccept -1ns":          {DeferAccept: -1},
		"DeferAccept 9h6m8s":        {DeferAccept: 32768 * time.Second},
		"FastOpen -1":               {FastOpen: -1},
		"FastOpen 2147483648":       {FastOpen: tooBig},
		"Backlog 2147483648":        {Backlog: tooBig},
		"ReadBuffer 2147483648":     {ReadBuffer: tooBig},
		"WriteBuffer 2147483648":    {WriteBuffer: tooBig},
	} {
		if strings.HasSuffix(want, "2147483648") && tooBig < 0 {
			continue // does not fit into 32 bits
		}
		for what, err := range map[string]error{
			"Validate": bad.Validate(),
			"Listen":   func() error { _, err := bad.Listen(t.Context(), "127.0.0.1:0"); return err }(),
			"Dial":     func() error { _, err := bad.Dial(t.Context(), "127.0.0.1:1"); return err }(),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got error %[3]v, want %[2]q in it", what, want, err)
			}
		}
	}
}

var one = 1
var tooBig = one << 31 // negative where an int has 32 bits

func TestValidateAllows(t *testing.T) {
	for _, ok := range []transport.TCP{
		{},
		{Network: "tcp"}, {Network: "tcp4"}, {Network: "tcp6"},
		{Backlog: 1, ReadBuffer: 1, WriteBuffer: 1, UnixMode: 0o777},
		{KeepAlive: -1, KeepAliveInterval: -1, KeepAliveCount: -1, Linger: -1, SendTimeout: -1},
		{KeepAlive: 32767 * time.Second, KeepAliveInterval: 32767 * time.Second, KeepAliveCount: 127, Linger: 32767},
		{DeferAccept: 32767 * time.Second, FastOpen: math.MaxInt32},
		{Backlog: math.MaxInt32, ReadBuffer: math.MaxInt32, WriteBuffer: math.MaxInt32},
	} {
		if err := ok.Validate(); err != nil {
			t.Errorf("%+v: got %v, want no error", ok, err)
		}
	}
}

func TestListenBadAddress(t *testing.T) {
	for _, tr := range []transport.Transport{transport.TCP{}, transport.TLS{Config: testTLS()}} {
		_, err := tr.Listen(t.Context(), "nonsense")
		wantIs(t, err, transport.ErrBadAddr)
		_, err = tr.Dial(t.Context(), "nonsense")
		wantIs(t, err, transport.ErrBadAddr)
	}
}

func TestAddressInUse(t *testing.T) {
	ln := listen(t, transport.TCP{}, "127.0.0.1:0")
	_, err := transport.TCP{}.Listen(t.Context(), listenaddr.String(ln.Addr()))
	wantIs(t, err, syscall.EADDRINUSE)
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != "listen" {
		t.Errorf("got %#v, want a *net.OpError of listen", err)
	}
}

func TestDialRefused(t *testing.T) {
	ln := listen(t, transport.TCP{}, "127.0.0.1:0")
	addr := listenaddr.String(ln.Addr())
	ln.Close()
	for _, tr := range []transport.Transport{transport.TCP{}, transport.TLS{}} {
		_, err := tr.Dial(t.Context(), addr)
		wantIs(t, err, syscall.ECONNREFUSED)
	}
}

func TestContextEndsListenAndDial(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ln := listen(t, transport.TCP{}, "127.0.0.1:0")
	if nc, err := (transport.TCP{}).Dial(ctx, listenaddr.String(ln.Addr())); err == nil {
		nc.Close()
		t.Error("Dial with an ended context: got no error, want one")
	}
}

func TestNetworkFamilies(t *testing.T) {
	for _, tt := range []struct {
		network, addr string
		ok            bool
	}{
		{"tcp4", "127.0.0.1:0", true},
		{"tcp4", "[::1]:0", false},
		{"tcp6", "[::1]:0", true},
		{"tcp6", "127.0.0.1:0", false},
		{"tcp", "127.0.0.1:0", true},
		{"tcp", "[::1]:0", true},
	} {
		ln, err := transport.TCP{Network: tt.network}.Listen(t.Context(), tt.addr)
		if (err == nil) != tt.ok {
			t.Errorf("%s on %s: got %v, want success %v", tt.network, tt.addr, err, tt.ok)
		}
		if err == nil {
			ln.Close()
		}
	}
}

// With "tcp6", an IPv4 listener can use the same port.
func TestOnePortTwoFamilies(t *testing.T) {
	var six, four net.Listener
	var port string
	for four == nil { // a port that is free for one family may be in use for the other
		six = listen(t, transport.TCP{Network: "tcp6"}, ":0")
		port = strconv.Itoa(six.Addr().(*net.TCPAddr).Port)
		var err error
		if four, err = (transport.TCP{Network: "tcp4"}).Listen(t.Context(), ":"+port); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { four.Close() })
	for _, ln := range []net.Listener{six, four} {
		host := map[net.Listener]string{six: "::1", four: "127.0.0.1"}[ln]
		nc, err := transport.TCP{}.Dial(t.Context(), net.JoinHostPort(host, port))
		if err != nil {
			t.Fatalf("Dial %s: got %v, want no error", host, err)
		}
		defer nc.Close()
		got := accept(t, transport.TCP{}, ln)
		if got.RemoteAddr().String() != nc.LocalAddr().String() {
			t.Errorf("listener of %s: got a connection of %v, want %v", host, got.RemoteAddr(), nc.LocalAddr())
		}
	}
}

func TestControl(t *testing.T) {
	type call struct{ network, address string }
	var calls []call
	opts := transport.TCP{Control: func(network, address string, c syscall.RawConn) error {
		calls = append(calls, call{network, address})
		return c.Control(func(uintptr) {})
	}}
	ln := listen(t, opts, "127.0.0.1:0")
	addr := listenaddr.String(ln.Addr())
	nc, err := opts.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if len(calls) != 2 || calls[0] != (call{"tcp4", "127.0.0.1:0"}) || calls[1] != (call{"tcp4", addr}) {
		t.Errorf("Control: got calls %v, want one for each socket", calls)
	}
}

func TestControlErrorFailsTheCall(t *testing.T) {
	errOurs := errors.New("option refused")
	opts := transport.TCP{Control: func(string, string, syscall.RawConn) error { return errOurs }}
	ln := listen(t, transport.TCP{}, "127.0.0.1:0")
	addr := listenaddr.String(ln.Addr())
	_, err := opts.Dial(t.Context(), addr)
	wantIs(t, err, errOurs)
	ln.Close()
	_, err = opts.Listen(t.Context(), addr)
	wantIs(t, err, errOurs)
	listen(t, transport.TCP{}, addr) // no socket was left open
}

func TestReusePort(t *testing.T) {
	first, err := transport.TCP{}.ListenShared(t.Context(), "127.0.0.1:0")
	if runtime.GOOS != "linux" {
		wantIs(t, err, errors.ErrUnsupported)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	addr := listenaddr.String(first.Addr())
	second, err := transport.TCP{}.ListenShared(t.Context(), addr)
	if err != nil {
		t.Fatalf("second socket on %s: got %v, want no error", addr, err)
	}
	defer second.Close()
	_, err = transport.TCP{}.Listen(t.Context(), addr) // a socket without the option
	wantIs(t, err, syscall.EADDRINUSE)

	// The kernel chooses a socket by a hash of the addresses: it is practically impossible that all
	// 64 connections go to one of the two.
	const conns = 64
	counts := make(chan int, 2)
	for _, ln := range []net.Listener{first, second} {
		go func() {
			n := 0
			for {
				nc, err := ln.Accept()
				if err != nil {
					counts <- n
					return
				}
				nc.Write([]byte{1}) // reports that the connection was accepted
				nc.Close()
				n++
			}
		}()
	}
	for range conns {
		nc, err := transport.TCP{}.Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		nc.Close()
	}
	first.Close()
	second.Close()
	a, b := <-counts, <-counts
	if a+b != conns || a == 0 || b == 0 {
		t.Errorf("of %d connections: got %d and %d, want some on each socket", conns, a, b)
	}
}

func TestReusePortRefusedOnUnixSockets(t *testing.T) {
	for _, tr := range []transport.PortSharer{transport.TCP{}, transport.TLS{Config: testTLS()}} {
		_, err := tr.ListenShared(t.Context(), socketPath(t))
		wantIs(t, err, errors.ErrUnsupported)
	}
}

// With a negative linger, Close drops unsent data and resets the connection. Accepted sockets
// inherit that from the listening one.
func TestNegativeLingerResets(t *testing.T) {
	for _, linger := range []int{0, -1} {
		srv, cli := kindNamed("tcp").pair(t, transport.TCP{Linger: linger})
		if _, err := srv.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		srv.Close()
		cli.SetReadDeadline(time.Now().Add(testTimeout))
		var err error
		for p := make([]byte, 64); err == nil; {
			_, err = cli.Read(p)
		}
		if reset := errors.Is(err, syscall.ECONNRESET); reset != (linger < 0) {
			t.Errorf("linger %d: peer: got %v, want ECONNRESET only if negative", linger, err)
		}
	}
}
