package migrating

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/gliderlabs/ssh"

	"goranch/examples/internal/selfsigned"
	"goranch/ranch"
	"goranch/transport"
)

const anyPort = "127.0.0.1:0"

// serve runs a server with a listener ref, calls use with its address, and ends the server.
func serve(t *testing.T, ref string, run func(ctx context.Context) error, use func(addr string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	for {
		info, err := ranch.Info(ref)
		if err == nil && info.Addr != nil {
			use(info.Addr.String())
			break
		}
		select {
		case err := <-done:
			t.Fatalf("server: got end with %v, want it to run", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("server: got error %v, want none", err)
	}
}

func TestLoop(t *testing.T) {
	hello := func(_ context.Context, conn *transport.Conn) error {
		_, err := fmt.Fprint(conn, "hello")
		return err
	}
	serve(t, "loop", func(ctx context.Context) error { return LoopAfter(ctx, anyPort, 5, hello) }, func(addr string) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if b, err := io.ReadAll(nc); err != nil || string(b) != "hello" {
			t.Errorf("received: got %q and error %v, want hello", b, err)
		}
	})
}

func TestHTTP(t *testing.T) {
	pair, err := selfsigned.New("web.example")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	run := func(ctx context.Context) error { return HTTPAfter(ctx, anyPort, 5, h, cert, keyFile) }
	serve(t, "web", run, func(addr string) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr}).Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "HTTP/2.0" {
			t.Errorf("response: got %q and error %v, want HTTP/2.0", b, err)
		}
	})
}

func TestSMTP(t *testing.T) {
	cert, err := selfsigned.New("mail.example")
	if err != nil {
		t.Fatal(err)
	}
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return nil, io.EOF }))
	srv.Addr, srv.TLSConfig = anyPort, &tls.Config{Certificates: []tls.Certificate{cert}}
	serve(t, "smtps", func(ctx context.Context) error { return SMTPAfter(ctx, srv, anyPort, 5) }, func(addr string) {
		nc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		c, err := smtp.NewClient(nc, "mail.example")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Noop(); err == nil { // without a session EHLO fails, and so does the NOOP that needs it
			t.Error("NOOP: got no error, want that of the backend")
		}
		c.Close()
	})
}

func TestSSH(t *testing.T) {
	srv := &ssh.Server{Addr: anyPort}
	serve(t, "ssh", func(ctx context.Context) error { return SSHAfter(ctx, srv, 5) }, func(addr string) {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if line, err := bufio.NewReader(nc).ReadString('\n'); err != nil || !strings.HasPrefix(line, "SSH-2.0-") {
			t.Errorf("first line: got %q and error %v, want the version of SSH", line, err)
		}
	})
}
