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

// A connection has its slot exactly until it is closed.
func TestSlotIsHeldUntilClose(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	mem := new(transport.Mem)
	l := startListener(t, mem, ranch.Options{Addr: "x", MaxConnections: 1}, nl)
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
			t.Errorf("got %d active connections, want 1", i.ActiveConnections)
		}
		nc.Close()
		nc.Close()
		if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
			t.Fatal(err)
		}
	}
	l.Stop()
	if i := l.Info(); i.Reasons[conns.Finished] != 3 || i.Terminated != 3 {
		t.Errorf("got ends %v, want 3 of %v", i.Reasons, conns.Finished)
	}
}

// A killed connection ends when the server closes it, or at once if it was not accepted. The stop
// function is not called.
func TestKill(t *testing.T) {
	nl := netlisten.New(netlisten.Options{Stop: func(context.Context) { t.Error("got a call of Stop, want none") }})
	defer nl.Close()
	l := startListener(t, transport.TCP{}, ranch.Options{ShutdownTimeout: ranch.BrutalKill}, nl)
	dial(t, transport.TCP{}, l.Addr().String())
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if l.Kill(conns.Query{ID: transport.Of(nc).ID()}) == 0 {
		t.Error("Kill: got false, want true")
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: got %v, want %v", err, net.ErrClosed)
	}
	nc.Close()
	if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
		t.Fatal(err)
	}
	dial(t, transport.TCP{}, l.Addr().String()) // is not accepted
	if err := l.WaitForConnections(timeout(t), ranch.Equal, 1); err != nil {
		t.Fatal(err)
	}
	for l.Kill(conns.Query{}) == 0 { // it is counted before it is listed
		time.Sleep(time.Millisecond)
	}
	if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
		t.Fatal(err)
	}
	if i := l.Info(); i.Reasons[conns.Killed] != 2 {
		t.Errorf("got ends %v, want 2 of %v", i.Reasons, conns.Killed)
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
		t.Errorf("Stop: got %v, want no error", err)
	}
}

// Close ends Accept, waiting connections, and connections that arrive later.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nl := netlisten.New(netlisten.Options{})
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
		waiting, client := serve()
		synctest.Wait()
		if len(waiting) > 0 {
			t.Errorf("before Close: got %v, want a waiting connection", <-waiting)
		}
		nl.Close()
		nl.Close()
		go func() {
			_, err := nl.Accept()
			accepted <- err
		}()
		later, client2 := serve()
		for _, ended := range []chan error{waiting, later} {
			if err := <-ended; !errors.Is(err, netlisten.ErrRefused) {
				t.Errorf("Serve: got %v, want %v", err, netlisten.ErrRefused)
			}
		}
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: got %v, want %v", err, net.ErrClosed)
		}
		for _, c := range []net.Conn{client, client2} {
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the client's Read: got %v, want %v", err, io.EOF)
			}
		}
	})
}

// Connections that are not accepted end soon after a stop, and are counted as stopped.
func TestStopWithoutAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		nl := netlisten.New(netlisten.Options{Stop: func(ctx context.Context) { calls++; <-ctx.Done() }})
		mem := new(transport.Mem)
		l := startListener(t, mem, ranch.Options{Addr: "x"}, nl)
		for range 5 {
			dial(t, mem, "x")
		}
		synctest.Wait()
		begin := time.Now()
		if err := l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("got a stop of %v, want at most a second", d)
		}
		if i := l.Info(); i.Reasons[conns.Shutdown] != 5 {
			t.Errorf("got ends %v, want 5 of %v", i.Reasons, conns.Shutdown)
		}
		if calls != 1 {
			t.Errorf("got %d calls of stop, want 1", calls)
		}
	})
}

// Without a Stop a connection reads and writes until the shutdown limit, and is then
// closed.
func TestNoStopFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nl := netlisten.New(netlisten.Options{})
		defer nl.Close()
		mem := new(transport.Mem)
		l := startListener(t, mem, ranch.Options{Addr: "x"}, nl)
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
		io.WriteString(cli, "hello")
		if _, err := io.ReadFull(cli, make([]byte, 5)); err != nil {
			t.Errorf("Read during the stop: got %v, want no error", err)
		}
		if err := <-stopped; err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("Stop: got %v after %v, want no error after 5s", err, time.Since(begin))
		}
		if i := l.Info(); i.Reasons[conns.Aborted] != 1 {
			t.Errorf("got ends %v, want 1 of %v", i.Reasons, conns.Aborted)
		}
	})
}

func TestAddr(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	if a := nl.Addr(); a.Network() != "goranch" || a.String() == "" {
		t.Errorf("before the start: got %v %v, want a placeholder", a.Network(), a)
	}
	l := startListener(t, transport.TCP{}, ranch.Options{PostListen: nl.PostListen}, nl)
	if got, want := nl.Addr().String(), l.Addr().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
