package netlisten_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

// The slot is held until whoever accepted the connection has closed it, and no longer.
func TestSlotIsHeldUntilClose(t *testing.T) {
	nl := netlisten.New(nil)
	defer nl.Close()
	mem := new(transport.Mem)
	l := start(t, mem, ranch.Options{Addr: "x", MaxConnections: 1}, nl)
	for range 3 {
		cli := dial(t, mem, "x")
		nc, err := nl.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(cli, "hello")
		if _, err := io.ReadFull(nc, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if i := l.Info(); i.ActiveConnections != 1 {
			t.Errorf("%d active connections while one is open", i.ActiveConnections)
		}
		nc.Close()
		nc.Close()
		if err := l.WaitForConnections(within(t), ranch.Equal, 0); err != nil {
			t.Fatal(err)
		}
	}
	l.Stop()
	if i := l.Info(); i.Reasons[conns.Finished] != 3 || i.Terminated != 3 {
		t.Errorf("ended as %v", i.Reasons)
	}
}

// A connection that is killed ends when its user has noticed, or at once if it has none. It
// is no reason to stop the server.
func TestKill(t *testing.T) {
	nl := netlisten.New(func(context.Context) { t.Error("the server was told to stop") })
	defer nl.Close()
	l := start(t, transport.TCP{}, ranch.Options{ShutdownTimeout: ranch.BrutalKill}, nl)
	dial(t, transport.TCP{}, l.Addr().String())
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !l.Kill(transport.Of(nc).ID()) {
		t.Error("no such connection")
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	nc.Close()
	if err := l.WaitForConnections(within(t), ranch.Equal, 0); err != nil {
		t.Fatal(err)
	}
	dial(t, transport.TCP{}, l.Addr().String()) // nobody accepts it
	if err := l.WaitForConnections(within(t), ranch.Equal, 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range l.Connections() {
		l.Kill(c.ID)
	}
	if err := l.WaitForConnections(within(t), ranch.Equal, 0); err != nil {
		t.Fatal(err)
	}
	if i := l.Info(); i.Reasons[conns.Killed] != 2 {
		t.Errorf("ended as %v", i.Reasons)
	}
	dial(t, transport.TCP{}, l.Addr().String())
	if nc, err = nl.Accept(); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.Copy(io.Discard, nc)
		nc.Close()
	}()
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}

// After Close nobody is left waiting: neither Accept, nor those in hand, nor those to come.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nl := netlisten.New(nil)
		accepted := make(chan error, 1)
		serve := func() (chan error, net.Conn) {
			server, client := net.Pipe()
			ended := make(chan error, 1)
			go func() {
				conn := transport.NewConn(new(transport.Mem), server)
				defer conn.Close()
				ended <- nl.Serve(t.Context(), conn)
			}()
			return ended, client
		}
		inHand, client := serve()
		synctest.Wait()
		if len(inHand) > 0 {
			t.Error("ended before Close")
		}
		nl.Close()
		nl.Close()
		go func() {
			_, err := nl.Accept()
			accepted <- err
		}()
		later, client2 := serve()
		for _, ended := range []chan error{inHand, later} {
			if err := <-ended; !errors.Is(err, netlisten.ErrRefused) {
				t.Errorf("ended as %v", err)
			}
		}
		if err := <-accepted; !errors.Is(err, netlisten.ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
		for _, c := range []net.Conn{client, client2} {
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the client reads %v", err)
			}
		}
	})
}

// A listener is stopped while nobody accepts: its connections end soon, as told to.
func TestStopWhileNobodyAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hooks := 0
		nl := netlisten.New(func(ctx context.Context) { hooks++; <-ctx.Done() })
		mem := new(transport.Mem)
		l := start(t, mem, ranch.Options{Addr: "x"}, nl)
		for range 5 {
			dial(t, mem, "x")
		}
		synctest.Wait()
		begin := time.Now()
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("it took %v", d)
		}
		if i := l.Info(); i.Reasons[conns.Shutdown] != 5 {
			t.Errorf("ended as %v", i.Reasons)
		}
		if hooks != 1 {
			t.Errorf("the hook was called %d times", hooks)
		}
	})
}

// Without a hook a connection may read and write until the limit, and is closed then.
func TestNoHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nl := netlisten.New(nil)
		defer nl.Close()
		mem := new(transport.Mem)
		l := start(t, mem, ranch.Options{Addr: "x"}, nl)
		cli := dial(t, mem, "x")
		nc, err := nl.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.Copy(nc, nc)
			nc.Close()
		}()
		begin, stopped := time.Now(), make(chan error, 1)
		go func() { stopped <- l.Stop() }()
		synctest.Wait()
		io.WriteString(cli, "still")
		if _, err := io.ReadFull(cli, make([]byte, 5)); err != nil {
			t.Errorf("after the stop began: %v", err)
		}
		if err := <-stopped; err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if i := l.Info(); i.Reasons[conns.Aborted] != 1 {
			t.Errorf("ended as %v", i.Reasons)
		}
	})
}

func TestAddr(t *testing.T) {
	nl := netlisten.New(nil)
	defer nl.Close()
	if a := nl.Addr(); a.Network() != "goranch" || a.String() == "" {
		t.Errorf("before: %v", a)
	}
	l := start(t, transport.TCP{}, ranch.Options{PostListen: nl.PostListen}, nl)
	if got, want := nl.Addr().String(), l.Addr().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
