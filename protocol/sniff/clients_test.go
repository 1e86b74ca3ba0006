package sniff_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
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

// newTestServer serves TLS (HTTP/2, HTTP/1 and echo by ALPN), HTTP, SSH and echo on one port.
func newTestServer(t *testing.T) *ranch.Listener {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s tls:%t", r.Proto, r.TLS != nil)
	})}
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv)})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()
	config := &tls.Config{Certificates: ts.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	mux := newMux(t, sniff.Config{
		Rules: []sniff.Rule{
			{Name: "tls", Match: sniff.TLS(), Protocol: &sniff.Upgrade{
				To: transport.TLS{Config: config}, Protocol: nl,
				Choose: func(s tls.ConnectionState) protocol.Protocol {
					if s.NegotiatedProtocol == "" {
						return newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.HTTP1(), Protocol: nl}}, Default: namedEcho("echo in TLS")})
					}
					return nil
				},
			}},
			{Name: "http", Match: sniff.HTTP1(), Protocol: nl},
			{Name: "ssh", Match: sniff.SSH(), Protocol: namedEcho("SSH-2.0-none\r\n")},
		},
		Default: echo.Protocol{},
	})
	l, err := new(ranch.Server).StartListener("all", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, mux)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		srv.Close()
		<-served
	})
	return l
}

// need skips the test if a program is not installed, and returns its path. It is called before
// anything is started.
func need(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed; to run this test: apt-get install %s", program, debianPackage)
	}
	return path
}

// command returns a command that is killed when the test ends, or after a minute.
func command(t *testing.T, path string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

// Clients of the operating system are served by their protocols on one port.
func TestRealClients(t *testing.T) {
	for _, tt := range []struct {
		name, program, debianPackage string
		args                         []string // {addr}, {host} and {port} are replaced
		input, want                  string
	}{
		{"HTTP", "curl", "curl", []string{"-sS", "--noproxy", "*", "http://{addr}"}, "", "HTTP/1.1 tls:false"},
		{"HTTPS", "curl", "curl", []string{"-sSk", "--noproxy", "*", "--http1.1", "https://{addr}"}, "", "HTTP/1.1 tls:true"},
		{"HTTP/2", "curl", "curl", []string{"-sSk", "--noproxy", "*", "--http2", "https://{addr}"}, "", "HTTP/2.0 tls:true"},
		{"HTTPS without ALPN", "curl", "curl", []string{"-sSk", "--noproxy", "*", "--no-alpn", "https://{addr}"}, "", "HTTP/1.1 tls:true"},
		{"echo", "nc", "netcat-openbsd", []string{"-N", "-w", "30", "{host}", "{port}"}, "hello", "hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := need(t, tt.program, tt.debianPackage)
			cmd := command(t, path, argsFor(newTestServer(t), tt.args)...)
			cmd.Stdin = strings.NewReader(tt.input)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if out, err := cmd.Output(); string(out) != tt.want || err != nil {
				t.Errorf("%s: got %q, %v, want %q\n%s", tt.program, out, err, tt.want, stderr.String())
			}
		})
	}
	t.Run("SSH", func(t *testing.T) {
		path := need(t, "ssh", "openssh-client")
		args := argsFor(newTestServer(t), []string{"-v", "-o", "BatchMode=yes", "-F", "none", "-p", "{port}", "{host}"})
		out, _ := command(t, path, args...).CombinedOutput() // the server ends the connection after its version
		if want := "remote software version none"; !strings.Contains(string(out), want) {
			t.Errorf("ssh: got %q, want %q in it", out, want)
		}
	})
}

func argsFor(l *ranch.Listener, args []string) []string {
	addr := l.Addr().String()
	host, port, _ := strings.Cut(addr, ":")
	replacer := strings.NewReplacer("{addr}", addr, "{host}", host, "{port}", port)
	var replaced []string
	for _, a := range args {
		replaced = append(replaced, replacer.Replace(a))
	}
	return replaced
}

// A client that uses TLS without ALPN, and no known protocol inside, is served by the default.
func TestOpenSSL(t *testing.T) {
	path := need(t, "openssl", "openssl")
	cmd := command(t, path, "s_client", "-quiet", "-connect", newTestServer(t).Addr().String())
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
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	io.WriteString(in, "hello")
	want := "echo in TLS:hello"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// A client that stops during the handshake affects its own connection only, within the time limit.
func TestIncompleteHandshake(t *testing.T) {
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	up := &sniff.Upgrade{To: transport.TLS{Config: &tls.Config{Certificates: ts.TLS.Certificates}}, Protocol: namedEcho("tls"), Timeout: 50 * time.Millisecond}
	mux := newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: up}}, Default: echo.Protocol{}})
	for first, want := range map[string]conns.Reason{hello: conns.TimedOut, hello + strings.Repeat("\xff", 1<<10): conns.BadInput} {
		t.Run(want.Error(), func(t *testing.T) {
			ends := make(chan ranch.Event, 2)
			l, err := new(ranch.Server).StartListener("x", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet, Observer: func(e ranch.Event) {
				if e.Kind == ranch.ConnEnded {
					ends <- e
				}
			}}, mux)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Stop(); err != nil {
					t.Errorf("Stop: got %v, want no error", err)
				}
			})
			stuck, err := transport.TCP{}.Dial(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stuck.Close() })
			io.WriteString(stuck, first)
			if got := ask(transport.TCP{}, l.Addr().String(), "hello"); got != "hello" {
				t.Errorf("another client: got %q, want hello", got)
			}
			got := map[conns.Reason]int{}
			for range 2 {
				e := <-ends
				got[e.Reason]++
				if e.Reason != conns.Finished && !errors.Is(e.Err, sniff.ErrHandshake) {
					t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, sniff.ErrHandshake)
				}
			}
			if got[conns.Finished] != 1 || got[want] != 1 {
				t.Errorf("got ends %v, want one %v and one %v", got, conns.Finished, want)
			}
		})
	}
}
