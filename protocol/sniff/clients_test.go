package sniff_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/netlisten"
	"goranch/protocol/sniff"
	"goranch/ranch"
	"goranch/transport"
)

// onePort serves TLS (HTTP/2, HTTP/1 and echo by ALPN), HTTP, SSH and echo on one port.
func onePort(t *testing.T) *ranch.Listener {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s tls:%t", r.Proto, r.TLS != nil)
	})}
	nl := netlisten.New(netlisten.StopHTTP(srv))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()
	config := &tls.Config{Certificates: ts.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	mux := newMux(t, sniff.Config{
		Rules: []sniff.Rule{
			{Name: "tls", Match: sniff.TLS(), Protocol: &sniff.Upgrade{
				To: transport.TLS{Config: config}, Protocol: nl,
				Choose: func(s tls.ConnectionState) protocol.Protocol {
					if s.NegotiatedProtocol == "" {
						return newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.HTTP1(), Protocol: nl}}, Default: told("echo in TLS")})
					}
					return nil
				},
			}},
			{Name: "http", Match: sniff.HTTP1(), Protocol: nl},
			{Name: "ssh", Match: sniff.SSH(), Protocol: told("SSH-2.0-none\r\n")},
		},
		Default: echo.Protocol{},
	})
	l, err := new(ranch.Server).StartListener("all", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, mux)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		srv.Close()
		<-served
	})
	return l
}

// run runs a client program with an input, and returns what it prints.
func run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: no %s; apt-get install curl netcat-openbsd openssl openssh-client runs it", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(input)
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil && name != "ssh" {
		t.Errorf("%s: %v: %s", name, err, diag.String())
	}
	if name == "ssh" {
		return diag.String()
	}
	return string(out)
}

// What clients of the system get on one port.
func TestRealClients(t *testing.T) {
	l := onePort(t)
	addr := l.Addr().String()
	host, port, _ := strings.Cut(addr, ":")
	for _, tt := range []struct{ name, got, want string }{
		{"curl, HTTP", run(t, "", "curl", "-sS", "--noproxy", "*", "http://"+addr), "HTTP/1.1 tls:false"},
		{"curl, HTTPS", run(t, "", "curl", "-sSk", "--noproxy", "*", "--http1.1", "https://"+addr), "HTTP/1.1 tls:true"},
		{"curl, HTTP/2", run(t, "", "curl", "-sSk", "--noproxy", "*", "--http2", "https://"+addr), "HTTP/2.0 tls:true"},
		{"curl without ALPN", run(t, "", "curl", "-sSk", "--noproxy", "*", "--no-alpn", "https://"+addr), "HTTP/1.1 tls:true"},
		{"nc", run(t, "hello", "nc", "-N", "-w", "30", host, port), "hello"},
		{"ssh", run(t, "", "ssh", "-v", "-o", "BatchMode=yes", "-F", "none", "-p", port, host), "remote software version none"},
	} {
		if tt.got != tt.want && (tt.name != "ssh" || !strings.Contains(tt.got, tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

// openssl speaks TLS without ALPN, and within it none of the known protocols.
func TestOpenSSL(t *testing.T) {
	l := onePort(t)
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIPPED: no openssl; apt-get install openssl runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "s_client", "-quiet", "-connect", l.Addr().String())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "hello")
	want := "echo in TLS:hello"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	in.Close()
	cmd.Process.Kill()
	cmd.Wait()
}

// A client that is stuck in the handshake costs its own connection, for the time allowed.
func TestHandshakeThatStops(t *testing.T) {
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	up := &sniff.Upgrade{To: transport.TLS{Config: &tls.Config{Certificates: ts.TLS.Certificates}}, Protocol: told("tls"), Timeout: 50 * time.Millisecond}
	mux := newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: up}}, Default: echo.Protocol{}})
	for first, reason := range map[string]conns.Reason{hello: conns.TimedOut, hello + strings.Repeat("\xff", 1<<10): conns.BadInput} {
		ends := make(chan ranch.Event, 2)
		l, err := new(ranch.Server).StartListener("x", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet, Observer: ranch.Observer(func(e ranch.Event) {
			if e.Kind == ranch.ConnEnded {
				ends <- e
			}
		})}, mux)
		if err != nil {
			t.Fatal(err)
		}
		stuck, err := transport.TCP{}.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(stuck, first)
		if got := run(t, "hello", "nc", "-N", "-w", "30", "127.0.0.1", strings.TrimPrefix(l.Addr().String(), "127.0.0.1:")); got != "hello" {
			t.Errorf("another client got %q", got)
		}
		var reasons []conns.Reason
		for range 2 {
			e := <-ends
			reasons = append(reasons, e.Reason)
			if e.Reason != conns.Finished && e.Reason != reason {
				t.Errorf("ended as %v: %v", e.Reason, e.Err)
			}
		}
		if !strings.Contains(fmt.Sprint(reasons), reason.Error()) {
			t.Errorf("ended as %v, want one %v", reasons, reason)
		}
		stuck.Close()
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	}
}
