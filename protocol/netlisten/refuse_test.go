package netlisten_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

const smtpRefusal = "421 4.3.2 too many connections\r\n"

// holdOne starts a listener with a cap of one connection, which it takes, and refuses others.
func holdOne(t *testing.T, tr transport.Transport, opts ranch.Options, refuse func(context.Context, *transport.Conn, error)) *ranch.Listener {
	t.Helper()
	nl := netlisten.New(netlisten.Options{Refuse: refuse})
	opts.MaxConnections, opts.RefuseAfter = 1, -1
	l := startListener(t, tr, opts, nl)
	t.Cleanup(func() { nl.Close() })
	addr := opts.Addr
	if addr == "" {
		addr = l.Addr().String()
	}
	client := tr
	if s, ok := tr.(transport.TLS); ok {
		client = clientTLS(s.Config.NextProtos...)
	}
	dial(t, client, addr)
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return l
}

func clientTLS(protos ...string) transport.TLS {
	return transport.TLS{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: protos}}
}

// A client that is refused receives the message of its protocol: at the cap, by a limit per
// address, by a rule for its network and by the hook.
func TestRefuseGreeting(t *testing.T) {
	denied := new(conns.Networks)
	if err := denied.Add(conns.NetworkRule{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Deny: true}); err != nil {
		t.Fatal(err)
	}
	for want, opts := range map[conns.Reason]ranch.Options{
		conns.RefusedAtCap:   {MaxConnections: 1, RefuseAfter: ranch.RefuseAtOnce},
		conns.RefusedAddress: {Limits: conns.Limits{PerAddress: 1}},
		conns.Banned:         {Networks: denied},
		conns.RefusedByHook:  {Admit: func(netip.AddrPort) error { return errors.New("no") }},
	} {
		t.Run(want.Error(), func(t *testing.T) {
			nl := netlisten.New(netlisten.Options{Refuse: netlisten.RefuseGreeting(smtpRefusal)})
			l := startListener(t, transport.TCP{}, opts, nl)
			defer nl.Close()
			if opts.MaxConnections > 0 || opts.PerAddress > 0 {
				dial(t, transport.TCP{}, l.Addr().String())
				nc, err := nl.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
			}
			nc := dial(t, transport.TCP{}, l.Addr().String())
			if got, err := io.ReadAll(nc); string(got) != smtpRefusal || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, smtpRefusal)
			}
			waitRefused(t, l, want)
		})
	}
}

// waitRefused waits until a connection was refused for that reason.
func waitRefused(t *testing.T, l *ranch.Listener, want conns.Reason) {
	t.Helper()
	for begin := time.Now(); l.Info().Reasons[want] == 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > testTimeout {
			t.Fatalf("got ends %v, want one of %v", l.Info().Reasons, want)
		}
	}
}

// curl receives the status 503 over plain TCP and TLS.
func TestRefuseHTTP(t *testing.T) {
	needCurl(t)
	for name, tr := range map[string]transport.Transport{
		"http":  transport.TCP{},
		"https": transport.TLS{Config: serverTLS("http/1.1")},
	} {
		t.Run(name, func(t *testing.T) {
			l := holdOne(t, tr, ranch.Options{}, netlisten.RefuseHTTP)
			for _, args := range [][]string{nil, {"-d", strings.Repeat("x", 100_000)}} {
				args = append(args, "-w", "%{http_code}", fmt.Sprintf("%s://%s", name, l.Addr()))
				if got, err := curl(t, args...); got != "503 Service Unavailable\n503" || err != nil {
					t.Errorf("%d arguments: got %q, %v, want the status 503", len(args), got, err)
				}
			}
		})
	}
}

// A client of net/http receives the status 503: the answer does not precede the request.
func TestRefuseHTTPOfNetHTTP(t *testing.T) {
	l := holdOne(t, transport.TCP{}, ranch.Options{}, netlisten.RefuseHTTP)
	c := &http.Client{Transport: &http.Transport{}}
	for range 20 {
		res, err := c.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatalf("got %v, want an answer", err)
		}
		if b, err := io.ReadAll(res.Body); res.StatusCode != 503 || string(b) != "503 Service Unavailable\n" || err != nil {
			t.Errorf("got %s, %q, %v, want 503 with its text", res.Status, b, err)
		}
		res.Body.Close()
	}
}

// A client of HTTP/2 receives GOAWAY, with TLS and without.
func TestRefuseHTTPOfHTTP2(t *testing.T) {
	for name, c := range map[string]struct{ server, client transport.Transport }{
		"plain": {transport.TCP{}, transport.TCP{}},
		"TLS":   {transport.TLS{Config: serverTLS("h2")}, clientTLS("h2")},
	} {
		t.Run(name, func(t *testing.T) {
			l := holdOne(t, c.server, ranch.Options{}, netlisten.RefuseHTTP)
			p := new(http.Protocols)
			p.SetHTTP2(true)
			p.SetUnencryptedHTTP2(true)
			tr := &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			defer tr.CloseIdleConnections()
			scheme := "http"
			if c.server.Secure() {
				scheme = "https"
			}
			_, err := (&http.Client{Transport: tr}).Get(scheme + "://" + l.Addr().String())
			if err == nil {
				t.Fatal("got a response, want an error")
			}
			// If GOAWAY arrives before the request is sent, the client does not name it.
			if text := err.Error(); !strings.Contains(text, "could not be established") && !(strings.Contains(text, "GOAWAY") && strings.Contains(text, "ENHANCE_YOUR_CALM")) {
				t.Errorf("got %v, want an error that names GOAWAY and its code", err)
			}
		})
	}
}

// A client of MQTT receives the answer to its CONNECT.
func TestRefuseAnswer(t *testing.T) {
	l := holdOne(t, transport.TCP{}, ranch.Options{}, netlisten.RefuseAnswer("\x20\x02\x00\x03"))
	nc := dial(t, transport.TCP{}, l.Addr().String())
	nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := nc.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("before the request: got %d bytes, %v, want none", n, err)
	}
	nc.SetReadDeadline(time.Now().Add(testTimeout))
	io.WriteString(nc, "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
	if got, err := io.ReadAll(nc); string(got) != "\x20\x02\x00\x03" || err != nil {
		t.Errorf("got %q, %v, want a CONNACK", got, err)
	}
}

// Without Refuse, a client of TLS is refused before the handshake.
func TestNoRefuse(t *testing.T) {
	l := holdOne(t, transport.TLS{Config: serverTLS()}, ranch.Options{}, nil)
	if nc, err := clientTLS().Dial(timeout(t), l.Addr().String()); err == nil {
		nc.Close()
		t.Error("got a handshake, want none")
	}
	waitRefused(t, l, conns.RefusedAtCap)
}

// Clients that neither read nor send are closed after a second. They have no slot, and delay no
// other client.
func TestRefusedClientsThatDoNotRead(t *testing.T) {
	for name, refuse := range map[string]func(context.Context, *transport.Conn, error){
		"do not read": netlisten.RefuseGreeting(strings.Repeat("x", 1<<20)),
		"do not send": netlisten.RefuseAnswer("x"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nl := netlisten.New(netlisten.Options{Refuse: refuse})
				defer nl.Close()
				mem := new(transport.Mem)
				l := startListener(t, mem, ranch.Options{Addr: "x", MaxConnections: 1, RefuseAfter: ranch.RefuseAtOnce}, nl)
				dial(t, mem, "x")
				first, err := nl.Accept()
				if err != nil {
					t.Fatal(err)
				}
				for range 100 {
					dial(t, mem, "x")
				}
				synctest.Wait()
				if i := l.Info(); i.ActiveConnections != 1 || i.Refused != 0 {
					t.Errorf("got %d active and %d refused, want 1 and none yet", i.ActiveConnections, i.Refused)
				}
				first.Close()
				synctest.Wait()
				dial(t, mem, "x")
				begin := time.Now()
				second, err := nl.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer second.Close()
				if took := time.Since(begin); took != 0 {
					t.Errorf("got the next client accepted after %v, want at once", took)
				}
				time.Sleep(1100 * time.Millisecond)
				synctest.Wait()
				if i := l.Info(); i.Reasons[conns.RefusedAtCap] != 100 || i.ActiveConnections != 1 {
					t.Errorf("got ends %v, %d active, want 100 of %v, and 1", i.Reasons, i.ActiveConnections, conns.RefusedAtCap)
				}
			})
		})
	}
}

// A connection that the server does not accept any more receives the message, unless it is killed.
// A Refuse that panics costs its own connection.
func TestRefuseOfUnacceptedConnections(t *testing.T) {
	message := netlisten.RefuseGreeting(smtpRefusal)
	for name, c := range map[string]struct {
		refuse func(context.Context, *transport.Conn, error)
		end    func(*netlisten.Listener, *ranch.Listener)
		want   string
		reason conns.Reason
	}{
		"closed":  {message, func(nl *netlisten.Listener, _ *ranch.Listener) { nl.Close() }, smtpRefusal, conns.Failed},
		"drained": {message, func(_ *netlisten.Listener, l *ranch.Listener) { go l.Stop() }, smtpRefusal, conns.Shutdown},
		"killed":  {message, func(_ *netlisten.Listener, l *ranch.Listener) { l.Kill(conns.Query{}) }, "", conns.Killed},
		"panics": {func(context.Context, *transport.Conn, error) { panic("a test") },
			func(nl *netlisten.Listener, _ *ranch.Listener) { nl.Close() }, "", conns.Panicked},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nl := netlisten.New(netlisten.Options{Refuse: c.refuse})
				mem := new(transport.Mem)
				l := startListener(t, mem, ranch.Options{Addr: "x"}, nl)
				nc := dial(t, mem, "x")
				synctest.Wait()
				c.end(nl, l)
				if got, err := io.ReadAll(nc); string(got) != c.want || c.want != "" && err != nil {
					t.Errorf("got %q, %v, want %q", got, err, c.want)
				}
				if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if i := l.Info(); i.Reasons[c.reason] != 1 {
					t.Errorf("got ends %v, want 1 of %v", i.Reasons, c.reason)
				}
				nl.Close()
			})
		})
	}
}
