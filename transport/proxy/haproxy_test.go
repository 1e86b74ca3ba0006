package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

// haproxy starts haproxy with a frontend that listens on a socket of the test, and returns its
// address. The process ends with the test.
func haproxy(t *testing.T, bind, config string) (addr string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("haproxy does not run on Windows")
	}
	program, err := exec.LookPath("haproxy")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/haproxy"); err != nil {
			t.Skip("haproxy is missing; to run this test: apt-get install haproxy")
		}
	}
	ln := must[net.Listener](t)(net.Listen("tcp4", "127.0.0.1:0"))
	defer ln.Close()
	socket := must[*os.File](t)(ln.(*net.TCPListener).File())
	defer socket.Close()

	file := filepath.Join(shortDir(t), "haproxy.cfg")
	text := fmt.Sprintf("defaults\n timeout connect 5s\n timeout client 20s\n timeout server 20s\nfrontend f\n bind fd@3 %s\n%s\n", bind, config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*testTimeout)
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "-db", "-f", file)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("output of haproxy:\n%s\nconfiguration:\n%s", &out, text)
		}
	})
	return ln.Addr().String()
}

// echoed sends the greeting, expects it back, and closes nc.
func echoed(t *testing.T, nc net.Conn) (addr string) {
	t.Helper()
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testTimeout))
	io.WriteString(nc, greeting)
	got := make([]byte, len(greeting))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != greeting {
		t.Fatalf("got %q, %v, want the greeting", got, err)
	}
	return nc.LocalAddr().String()
}

// Behind haproxy, a listener reports the address of the client, with each version of the header,
// below TLS, and over a Unix socket.
func TestBehindHaproxy(t *testing.T) {
	for _, c := range []struct {
		name, send string
		kind       int
		version    int
	}{
		{"v1", "send-proxy", 0, 1},
		{"v2", "send-proxy-v2", 0, 2},
		{"v2 checksum", "send-proxy-v2 proxy-v2-options crc32c", 0, 2},
		{"v1 before TLS", "send-proxy", 1, 1},
		{"v2 before TLS", "send-proxy-v2", 1, 2},
		{"v1 unix", "send-proxy", 2, 1},
		{"v2 unix", "send-proxy-v2", 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := kinds[c.kind]
			s := start(t, k.trusting(), ranch.Options{Addr: k.addr(t)})
			at := s.Addr().String()
			if s.Addr().Network() == "unix" {
				at = "unix@" + at
			}
			via := haproxy(t, "", fmt.Sprintf(" default_backend b\nbackend b\n server s %s %s", at, c.send))
			nc := must[net.Conn](t)(net.Dial("tcp", via))
			if k.name == "tls" {
				nc = tls.Client(nc, testTLS())
			}
			client := echoed(t, nc)
			e := s.end(t)
			if e.peer != client || e.header == nil || e.header.Version != c.version {
				t.Errorf("got peer %s, want %s; header %+v, error %v", e.peer, client, e.header, e.Err)
			}
			if got := e.Conn.LocalAddr().String(); got != via {
				t.Errorf("local address %s, want %s", got, via)
			}
			if sum := strings.Contains(c.send, "crc32c"); sum != (e.header != nil && len(e.header.TLVs) == 1) {
				t.Errorf("got TLVs %+v, want a checksum only if haproxy sends one", e.header.TLVs)
			}
			s.Stop()
			if !strings.Contains(s.log.String(), "peer="+client+" reason=") {
				t.Errorf("got a log without the client %s, want one with it:\n%s", client, s.log)
			}
		})
	}
}

// haproxy terminates TLS, and describes it in the header.
func TestBehindHaproxyWithTLS(t *testing.T) {
	for _, c := range []struct {
		name, send    string
		showsIdentity bool
	}{
		{"send-proxy-v2-ssl", "send-proxy-v2-ssl", false},
		{"send-proxy-v2-ssl-cn", "send-proxy-v2-ssl-cn", true},
		{"options", "send-proxy-v2-ssl-cn proxy-v2-options ssl-cipher,cert-key,cert-sig,authority,crc32c,unique-id", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, kinds[0].trusting(), ranch.Options{Addr: "127.0.0.1:0"})
			pem := certificateFile(t, shortDir(t))
			via := haproxy(t, fmt.Sprintf("ssl crt %s ca-file %s verify optional", pem, pem),
				fmt.Sprintf(" unique-id-format %%{+X}o%%ci_%%cp\n default_backend b\nbackend b\n server s %s %s", s.Addr(), c.send))
			nc := tls.Client(must[net.Conn](t)(net.Dial("tcp", via)), testTLS())
			client := echoed(t, nc)
			e := s.end(t)
			if e.peer != client {
				t.Errorf("got peer %s, want %s", e.peer, client)
			}
			d := proxy.DetailsOf(e.header)
			got := d.SSL
			if got == nil || !got.TLS || got.Version != "TLSv1.3" || !got.Verified {
				t.Fatalf("SSL: got %+v, want a verified certificate over TLSv1.3", got)
			}
			if c.showsIdentity && got.CN != "player one" {
				t.Errorf("common name: got %q, want %q", got.CN, "player one")
			}
			if c.name != "options" {
				return
			}
			if want := tls.CipherSuiteName(nc.ConnectionState().CipherSuite); got.Cipher != want || got.KeyAlg == "" || got.SigAlg == "" {
				t.Errorf("cipher %q, want %q; key %q, signature %q", got.Cipher, want, got.KeyAlg, got.SigAlg)
			}
			if d.Authority != "localhost" || len(d.UniqueID) == 0 {
				t.Errorf("got authority %q and unique id %q, want localhost and an id", d.Authority, d.UniqueID)
			}
		})
	}
}

// A health check of haproxy is a connection of its own.
func TestHealthChecks(t *testing.T) {
	s := start(t, kinds[0].trusting(), ranch.Options{Addr: "127.0.0.1:0"})
	haproxy(t, "", fmt.Sprintf(" default_backend b\nbackend b\n option tcp-check\n tcp-check connect send-proxy\n tcp-check send-binary 6869\n tcp-check expect binary 6869\n server s %s send-proxy-v2 check inter 100ms", s.Addr()))
	e := s.end(t)
	if e.header == nil || !e.header.Local && e.header.Source != nil || e.peer != e.Conn.NetConn().RemoteAddr().String() {
		t.Errorf("got peer %s, header %+v, %v, want the address of the socket", e.peer, e.header, e.Err)
	}
}

// haproxy accepts the headers that Dial writes, and reports the addresses over HTTP.
func TestDialToHaproxy(t *testing.T) {
	for name, h := range map[string]*transport.ProxyHeader{
		"own":     nil,
		"v1 IPv4": headers["v1 IPv4"], "v1 IPv6": headers["v1 IPv6"], "v1 own": {Version: 1},
		"v2 IPv4": headers["v2 IPv4"], "v2 IPv6": headers["v2 IPv6"], "v2 local": headers["v2 local"],
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s tls=%v", name, secure), func(t *testing.T) {
				bind := "accept-proxy"
				tr := proxy.Transport{Inner: transport.TCP{}, Header: h, Checksum: h == nil || h.Version == 2}
				if secure {
					bind += " ssl crt " + certificateFile(t, shortDir(t))
					tr.Inner = transport.TLS{Config: testTLS()}
				}
				via := haproxy(t, bind, ` mode http
 http-request return status 200 content-type text/plain lf-string "from %[src] %[src_port] to %[dst] %[dst_port]\n"`)
				nc := must[net.Conn](t)(tr.Dial(t.Context(), via))
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(testTimeout))
				io.WriteString(nc, "GET / HTTP/1.0\r\n\r\n")
				answer := must[[]byte](t)(io.ReadAll(nc))
				src, dst := nc.LocalAddr().(*net.TCPAddr), nc.RemoteAddr().(*net.TCPAddr)
				if h != nil && h.Source != nil {
					src, dst = h.Source.(*net.TCPAddr), h.Destination.(*net.TCPAddr)
				}
				want := fmt.Sprintf("from %v %d to %v %d\n", src.IP, src.Port, dst.IP, dst.Port)
				if !strings.HasSuffix(string(answer), want) {
					t.Errorf("haproxy: got %q, want %q", answer, want)
				}
			})
		}
	}
}
