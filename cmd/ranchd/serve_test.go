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

func TestEchoTransports(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	tlsPath := filepath.Join(t.TempDir(), "b.sock")
	p := startProgram(t, "--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0", "--listen", "u=unix:"+path, "--listen", "tls+unix://"+tlsPath,
		"--unix-mode", "0600")
	sha := p.log.selfSigned(t)
	addrs := map[string]string{}
	for name, tr := range map[string]transport.Transport{
		"echo-tcp": transport.TCP{}, "echo-tls": tlsByFingerprint(t, sha), "u": transport.TCP{}, "echo-tls-unix": tlsByFingerprint(t, sha),
	} {
		addrs[name] = p.log.addr(t, name)
		if strings.HasPrefix(addrs[name], "/") {
			addrs[name] = "unix:" + addrs[name]
		}
		nc := dial(t, tr, addrs[name])
		checkEcho(t, nc)
		nc.Close()
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket file: got mode %v and error %v, want 0600", fi.Mode(), err)
	}
	p.out.line(t, "the end of the banner", func(line string) bool { return strings.Contains(line, "Press Ctrl-C to stop.") })
	_, port, _ := net.SplitHostPort(addrs["echo-tcp"])
	for _, want := range []string{
		"echo-tcp: echo on tcp://" + addrs["echo-tcp"], "printf hello | nc -N 127.0.0.1 " + port,
		"echo-tls: echo on tls://" + addrs["echo-tls"], "openssl s_client -quiet -connect " + addrs["echo-tls"],
		"u: echo on unix://" + path, "echo-tls-unix: echo on tls+unix://" + tlsPath, "nc -N -U " + path,
		"openssl s_client -quiet -unix " + tlsPath, sha, "Maximum connections per listener: 1024.",
	} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("banner: got\n%s\nwant %q in it", &p.out, want)
		}
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket file after the end: got %v, want none", err)
	}
}

func TestCertificateFiles(t *testing.T) {
	cert, key := newCertificateFiles(t)
	p := startProgram(t, "--listen", "tls://127.0.0.1:0", "--cert", cert, "--key", key, "--quiet")
	checkEcho(t, dial(t, tlsByFile(t, cert), p.log.addr(t, "echo-tls")))
	p.stop()
	p.wantExit(t, exitOK)
	if p.out.String() != "" {
		t.Errorf("--quiet: got output %q, want none", &p.out)
	}
	if strings.Contains(p.log.String(), "self-signed") {
		t.Errorf("got log\n%s\nwant no self-signed certificate", &p.log)
	}
}

func TestExpiredCertificate(t *testing.T) {
	cert, key := newCertificateFilesAt(t, time.Now().AddDate(-1, 0, 0))
	p := startProgram(t, "--listen", "tls://127.0.0.1:0", "--cert", cert, "--key", key, "--check")
	p.wantExit(t, exitOK)
	p.log.event(t, "certificate has expired", map[string]any{"level": "WARN"})
}

func TestMinimumTLS(t *testing.T) {
	p := startProgram(t, "--listen", "tls://127.0.0.1:0", "--tls-min", "1.3")
	old := transport.TLS{Config: tlsByFingerprint(t, "").Config.Clone()}
	old.Config.MaxVersion = 0x0303 // TLS 1.2
	nc, err := old.Dial(t.Context(), p.log.addr(t, "echo-tls"))
	if err == nil {
		nc.Close()
		t.Error("TLS 1.2: got a connection, want an error")
	}
	p.log.event(t, "connection ended", map[string]any{"reason": "handshake failed"})
}

// --check opens no socket: the port is in use.
func TestCheck(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := startProgram(t, "--check", "--listen", "a="+ln.Addr().String())
	p.wantExit(t, exitOK)
	if want := "  a=tcp://" + ln.Addr().String() + "\n"; !strings.HasSuffix(p.out.String(), want) {
		t.Errorf("got output %q, want %q at its end", &p.out, want)
	}
	p = startProgram(t, "--check", "--listen", "a")
	p.wantExit(t, exitUsage)
}

func TestPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := startProgram(t, "--listen", "a=127.0.0.1:0", "--listen", "b="+ln.Addr().String(), "--listen", "c=127.0.0.1:0")
	p.wantExit(t, exitFailed)
	e := p.log.event(t, "starting a listener failed", map[string]any{"listener": "b", "addr": ln.Addr().String(), "level": "ERROR"})
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if hint, _ := e["hint"].(string); !strings.Contains(hint, port) || !strings.Contains(hint, "another port") {
		t.Errorf("hint: got %q, want port %s and another port in it", hint, port)
	}
	if nc, err := net.Dial("tcp", p.log.addr(t, "a")); err == nil {
		nc.Close()
		t.Error("the first listener accepts connections, want it stopped")
	}
	if p.out.String() != "" || strings.Contains(p.log.String(), `"listener":"c"`) {
		t.Errorf("got output and log\n%s%s\nwant nothing after the failure", &p.out, &p.log)
	}
}

// startServer runs the daemon with this function in place of echo, and returns its address.
func startServer(t *testing.T, serve protocol.Func, args ...string) (p *program, addr string) {
	t.Helper()
	c := mustParse(t, append(args, "--quiet", "--listen", "x=127.0.0.1:0")...)
	p = startFunc(t, func(p *program, ctx context.Context) int {
		d := newDaemon(c)
		d.services[serviceKey{}] = &runningService{protocol: serve}
		d.log, d.stdout = newLogger(&p.log, logJSON, c.LogLevel), &p.out
		return d.run(ctx, p.signals)
	})
	return p, p.log.addr(t, "x")
}

// flood writes until its connection is closed.
func flood(_ context.Context, conn *transport.Conn) error {
	for {
		if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
			return err
		}
	}
}

// dialAndRead connects and waits for a byte from the protocol.
func dialAndRead(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc := dial(t, transport.TCP{}, addr)
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return nc
}

func TestDrainWaitsForBusyConnection(t *testing.T) {
	finish := make(chan struct{})
	p, addr := startServer(t, func(ctx context.Context, conn *transport.Conn) error {
		io.WriteString(conn, "!")
		<-ctx.Done()
		<-finish
		_, err := io.WriteString(conn, "last data")
		return err
	}, "--shutdown-timeout", "1m")
	nc := dialAndRead(t, addr)
	p.signals <- syscall.SIGINT
	p.log.event(t, "stopping; a second signal exits at once", map[string]any{"signal": "interrupt", "limit": "1m0s"})
	p.log.event(t, "draining", map[string]any{"connections": 1.0})
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("dial during the drain: got a connection, want an error")
	}
	close(finish)
	if got, err := io.ReadAll(nc); string(got) != "last data" || err != nil {
		t.Errorf("client: got %q and error %v, want the last data", got, err)
	}
	p.wantExit(t, exitOK)
	p.log.event(t, "stopped", map[string]any{"accepted": 1.0, "closed": 0.0})
}

func TestShutdownTimeout(t *testing.T) {
	p, addr := startServer(t, flood, "--shutdown-timeout", "50ms")
	dialAndRead(t, addr)
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitAborted)
	p.log.event(t, "stopped; connections were closed at the shutdown timeout", map[string]any{"closed": 1.0, "limit": "50ms"})
}

// With --shutdown-timeout 0, closing connections is not an error.
func TestShutdownTimeoutZero(t *testing.T) {
	p, addr := startServer(t, flood, "--shutdown-timeout", "0")
	dialAndRead(t, addr)
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

func TestSecondSignal(t *testing.T) {
	for second, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(second.String(), func(t *testing.T) {
			p, addr := startServer(t, flood, "--shutdown-timeout", "infinity")
			nc := dialAndRead(t, addr)
			p.signals <- syscall.SIGTERM
			p.log.event(t, "stopping; a second signal exits at once", map[string]any{"limit": "infinity"})
			p.signals <- second
			p.wantExit(t, code)
			io.Copy(io.Discard, nc) // returns when the connection is closed
			p.log.event(t, "listener stopped", nil)
		})
	}
}

// A signal can arrive while listeners are being started.
func TestSignalAtStart(t *testing.T) {
	for range 20 {
		p := startProgram(t, "--listen", "tls://127.0.0.1:0", "--listen", "127.0.0.1:0")
		p.signals <- syscall.SIGTERM
		p.wantExit(t, exitOK)
	}
}

func TestStuckProtocol(t *testing.T) {
	release, returned := make(chan struct{}), make(chan struct{})
	p, addr := startServer(t, func(_ context.Context, conn *transport.Conn) error {
		defer close(returned)
		io.WriteString(conn, "!")
		<-release
		return nil
	}, "--shutdown-timeout", "10ms")
	dialAndRead(t, addr)
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitStuck)
	close(release)
	<-returned
}
