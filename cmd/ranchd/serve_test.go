package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

func TestEchoEverywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	tlsPath := filepath.Join(t.TempDir(), "b.sock")
	p := launch(t, "--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0", "--listen", "u=unix:"+path, "--listen", "tls+unix://"+tlsPath,
		"--unix-mode", "0600")
	sha, _ := p.log.event(t, "TLS has a self-signed certificate made in memory, for trying out only", nil)["sha256"].(string)
	at := map[string]string{}
	for name, tr := range map[string]transport.Transport{
		"echo-tcp": transport.TCP{}, "echo-tls": trusting(t, sha), "u": transport.TCP{}, "echo-tls-unix": trusting(t, sha),
	} {
		at[name] = p.log.addr(t, name)
		if strings.HasPrefix(at[name], "/") {
			at[name] = "unix:" + at[name]
		}
		nc := dial(t, tr, at[name])
		echoes(t, nc)
		nc.Close()
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket's file: %v, %v", fi.Mode(), err)
	}
	p.out.line(t, "the banner's end", func(line string) bool { return strings.Contains(line, "Stop with Ctrl-C") })
	_, port, _ := net.SplitHostPort(at["echo-tcp"])
	for _, want := range []string{
		"echo-tcp: echo on tcp://" + at["echo-tcp"], "printf hello | nc -N 127.0.0.1 " + port,
		"echo-tls: echo on tls://" + at["echo-tls"], "openssl s_client -quiet -connect " + at["echo-tls"],
		"u: echo on unix://" + path, "echo-tls-unix: echo on tls+unix://" + tlsPath, "nc -N -U " + path,
		"openssl s_client -quiet -unix " + tlsPath, sha, "Connections at once on each: 1024",
	} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("the banner does not say %q:\n%s", want, &p.out)
		}
	}
	p.signals <- syscall.SIGTERM
	p.exits(t, exitInOrder)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file is still there: %v", err)
	}
}

func TestOwnCertificate(t *testing.T) {
	cert, key := certificateFiles(t)
	p := launch(t, "--listen", "tls://127.0.0.1:0", "--cert", cert, "--key", key, "--quiet")
	echoes(t, dial(t, trustingFile(t, cert), p.log.addr(t, "echo-tls")))
	p.end()
	p.exits(t, exitInOrder)
	if p.out.String() != "" {
		t.Errorf("--quiet, but it prints %q", &p.out)
	}
	if strings.Contains(p.log.String(), "self-signed") {
		t.Errorf("it takes the certificate for its own:\n%s", &p.log)
	}
}

func TestExpiredCertificate(t *testing.T) {
	cert, key := certificateFilesOf(t, time.Now().AddDate(-1, 0, 0))
	p := launch(t, "--listen", "tls://127.0.0.1:0", "--cert", cert, "--key", key, "--check")
	p.exits(t, exitInOrder)
	p.log.event(t, "the certificate has expired", map[string]any{"level": "WARN"})
}

func TestMinimumTLS(t *testing.T) {
	p := launch(t, "--listen", "tls://127.0.0.1:0", "--tls-min", "1.3")
	old := transport.TLS{Config: trusting(t, "").Config.Clone()}
	old.Config.MaxVersion = 0x0303 // TLS 1.2
	nc, err := old.Dial(t.Context(), p.log.addr(t, "echo-tls"))
	if err == nil {
		nc.Close()
		t.Error("TLS 1.2 is accepted")
	}
	p.log.event(t, "connection ended", map[string]any{"reason": "handshake failed"})
}

// TestCheck occupies the port, so that a check that opens anything fails.
func TestCheck(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := launch(t, "--check", "--listen", "a="+ln.Addr().String())
	p.exits(t, exitInOrder)
	if want := "  a=tcp://" + ln.Addr().String() + "\n"; !strings.HasSuffix(p.out.String(), want) {
		t.Errorf("it prints %q, want %q at the end", &p.out, want)
	}
	p = launch(t, "--check", "--listen", "a")
	p.exits(t, exitUsage)
}

func TestPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := launch(t, "--listen", "a=127.0.0.1:0", "--listen", "b="+ln.Addr().String(), "--listen", "c=127.0.0.1:0")
	p.exits(t, exitFailed)
	e := p.log.event(t, "a listener could not be started", map[string]any{"listener": "b", "addr": ln.Addr().String(), "level": "ERROR"})
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if advice, _ := e["advice"].(string); !strings.Contains(advice, port) || !strings.Contains(advice, "another port") {
		t.Errorf("advice %q", advice)
	}
	if nc, err := net.Dial("tcp", p.log.addr(t, "a")); err == nil {
		nc.Close()
		t.Error("the first listener is left running")
	}
	if p.out.String() != "" || strings.Contains(p.log.String(), `"listener":"c"`) {
		t.Errorf("it goes on after the failure:\n%s%s", &p.out, &p.log)
	}
}

// server runs the daemon with a protocol that echo cannot be: one that takes its time.
func server(t *testing.T, serve protocol.Func, args ...string) (p *program, addr string) {
	t.Helper()
	c := configOf(t, append(args, "--quiet", "--listen", "x=127.0.0.1:0")...)
	p = launchFunc(t, func(p *program, ctx context.Context) int {
		d := &daemon{config: c, services: services{protocols: map[service]protocol.Protocol{echoService: serve}}, log: newLogger(&p.log, logJSON, c.LogLevel), stdout: &p.out}
		return d.run(ctx, p.signals)
	})
	return p, p.log.addr(t, "x")
}

// flood writes until it is cut off: a client that does not read keeps it for ever.
func flood(_ context.Context, conn *transport.Conn) error {
	for {
		if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
			return err
		}
	}
}

// connected dials, and waits until the protocol has sent something.
func connected(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc := dial(t, transport.TCP{}, addr)
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return nc
}

func TestDrainWaitsForBusyConnection(t *testing.T) {
	finish := make(chan struct{})
	p, addr := server(t, func(ctx context.Context, conn *transport.Conn) error {
		io.WriteString(conn, "!")
		<-ctx.Done()
		<-finish
		_, err := io.WriteString(conn, "the rest")
		return err
	}, "--shutdown-timeout", "1m")
	nc := connected(t, addr)
	p.signals <- syscall.SIGINT
	p.log.event(t, "stopping; a second signal ends at once", map[string]any{"signal": "interrupt", "limit": "1m0s"})
	p.log.event(t, "draining", map[string]any{"connections": 1.0})
	if late, err := net.Dial("tcp", addr); err == nil {
		late.Close()
		t.Error("it still accepts")
	}
	close(finish)
	if got, err := io.ReadAll(nc); string(got) != "the rest" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	p.exits(t, exitInOrder)
	p.log.event(t, "ended in order", map[string]any{"accepted": 1.0, "closed": 0.0})
}

func TestDrainLimit(t *testing.T) {
	p, addr := server(t, flood, "--shutdown-timeout", "50ms")
	connected(t, addr)
	p.signals <- syscall.SIGTERM
	p.exits(t, exitCut)
	p.log.event(t, "ended; connections that went on past the limit were closed", map[string]any{"closed": 1.0, "limit": "50ms"})
}

// TestNoDrain: whoever allows no time has asked for connections to be closed.
func TestNoDrain(t *testing.T) {
	p, addr := server(t, flood, "--shutdown-timeout", "0")
	connected(t, addr)
	p.signals <- syscall.SIGTERM
	p.exits(t, exitInOrder)
}

func TestSecondSignal(t *testing.T) {
	for second, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(second.String(), func(t *testing.T) {
			p, addr := server(t, flood, "--shutdown-timeout", "infinity")
			nc := connected(t, addr)
			p.signals <- syscall.SIGTERM
			p.log.event(t, "stopping; a second signal ends at once", map[string]any{"limit": "infinity"})
			p.signals <- second
			p.exits(t, code)
			io.Copy(io.Discard, nc) // returns, for it was cut off
			p.log.event(t, "listener stopped", nil)
		})
	}
}

// TestSignalAtStart: it may come while listeners are being started.
func TestSignalAtStart(t *testing.T) {
	for range 20 {
		p := launch(t, "--listen", "tls://127.0.0.1:0", "--listen", "127.0.0.1:0")
		p.signals <- syscall.SIGTERM
		p.exits(t, exitInOrder)
	}
}

func TestStuckProtocol(t *testing.T) {
	release, gone := make(chan struct{}), make(chan struct{})
	p, addr := server(t, func(_ context.Context, conn *transport.Conn) error {
		defer close(gone)
		io.WriteString(conn, "!")
		<-release
		return nil
	}, "--shutdown-timeout", "10ms")
	connected(t, addr)
	p.signals <- syscall.SIGTERM
	p.exits(t, exitStuck)
	close(release)
	<-gone
}
