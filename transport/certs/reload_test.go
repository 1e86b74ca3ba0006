package certs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/transport/certs"
)

func TestOpenReportsAllFaults(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	good, other := d.pair(ca, "good", "a.test"), d.pair(ca, "other", "b.test")
	nokey, _ := os.ReadFile(good.Key)
	_, err := certs.Open(certs.Options{
		Pairs: []certs.Pair{
			good,
			{Cert: good.Cert, Key: other.Key},
			{Cert: d.file("missing.crt"), Key: d.file("missing.key")},
			{Cert: d.write("empty.crt", ""), Key: good.Key},
			{Cert: d.write("key.crt", string(nokey)), Key: good.Key},
			{Cert: d.path, Key: good.Key},
		},
		ClientCAs:     []string{d.file("missing.ca"), d.write("text.ca", "hello"), d.write("cut.ca", ca.pem+ca.pem[:200])},
		TicketKeyFile: d.write("tickets", "secret!"),
	})
	for _, target := range []error{certs.ErrBadPair, certs.ErrBadClientCA, certs.ErrBadTicketKeys, fs.ErrNotExist} {
		if !errors.Is(err, target) {
			t.Errorf("got an error that does not wrap %q, want one that does", target)
		}
	}
	for _, want := range []string{"good.crt", "other.key", "does not match", "missing.crt", "missing.key", "empty.crt", "key.crt", "not a regular file", "missing.ca", "text.ca", "cut.ca", "tickets"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got an error without %q, want it named:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("got an error that shows a key, want none: %v", err)
	}
}

// defaultInterval is the documented default of Options.Interval.
const defaultInterval = 10 * time.Second

func TestBadOptions(t *testing.T) {
	for want, o := range map[string]certs.Options{
		"Pairs":         {},
		"Pairs[0]":      {Pairs: []certs.Pair{{Cert: "x"}}},
		"ClientCAs[0]":  {Pairs: []certs.Pair{{Cert: "x", Key: "y"}}, ClientCAs: []string{""}},
		"TicketKeys":    {Pairs: []certs.Pair{{Cert: "x", Key: "y"}}, TicketKeys: make([][32]byte, 17)},
		"TicketKeyFile": {Pairs: []certs.Pair{{Cert: "x", Key: "y"}}, TicketKeys: make([][32]byte, 1), TicketKeyFile: "z"},
	} {
		if _, err := certs.Open(o); err == nil || !strings.Contains(err.Error(), "option "+want+" ") {
			t.Errorf("%s: got %v, want an error for the option", want, err)
		}
	}
}

// If the files become faulty, the previous content stays in use, and both the fault and its end are
// reported once.
func TestFaultyFilesWhileRunning(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tt := range []struct {
		name   string
		damage func(d dir)
		is     error
	}{
		{"missing certificate", func(d dir) { os.Remove(d.file("a.crt")) }, fs.ErrNotExist},
		{"missing key", func(d dir) { os.Remove(d.file("a.key")) }, fs.ErrNotExist},
		{"missing directory", func(d dir) { os.RemoveAll(d.path) }, fs.ErrNotExist},
		{"key of another", func(d dir) { _, key := ca.server(d.tb, "a.test"); d.write("a.key", key) }, certs.ErrBadPair},
		{"key half written", func(d dir) { b, _ := os.ReadFile(d.file("a.key")); d.write("a.key", string(b[:len(b)/2])) }, certs.ErrBadPair},
		{"key empty", func(d dir) { d.write("a.key", "") }, certs.ErrBadPair},
		{"chain half written", func(d dir) { b, _ := os.ReadFile(d.file("a.crt")); d.write("a.crt", string(b)+ca.pem[:100]) }, certs.ErrBadPair},
		{"CAs half written", func(d dir) { d.write("ca", ca.pem+ca.pem[:len(ca.pem)-10]) }, certs.ErrBadClientCA},
		{"second pair bad, first one new", func(d dir) { d.pair(ca, "a", "a.test"); d.write("b.key", "x") }, certs.ErrBadPair},
	} {
		t.Run(tt.name, func(t *testing.T) { checkFaultyFiles(t, ca, tt.damage, tt.is) })
	}
}

func checkFaultyFiles(t *testing.T, ca *authority, damage func(d dir), want error) {
	d := newDir(t)
	o := certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test"), d.pair(ca, "b", "b.test")}, ClientCAs: []string{d.write("ca", ca.pem)}}
	synctest.Test(t, func(t *testing.T) {
		var reports []error
		notified := make(chan error, 1000)
		o.Notify = func(err error) { notified <- err }
		s := open(t, o)
		before := fingerprints(s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		wait := func(d time.Duration) { // by the clock of the bubble
			time.Sleep(d)
			synctest.Wait()
			for len(notified) > 0 {
				reports = append(reports, <-notified)
			}
		}

		wait(time.Minute)
		if len(reports) > 0 {
			t.Errorf("without a change: got reports %v, want none", reports)
		}
		damage(d)
		wait(defaultInterval)
		if len(reports) != 1 || !errors.Is(reports[0], want) {
			t.Fatalf("after one interval: got reports %v, want %v", reports, want)
		}
		wait(time.Hour)
		if len(reports) != 1 {
			t.Errorf("got further reports %v, want none", reports[1:])
		}
		if diff := cmp.Diff(before, fingerprints(s)); diff != "" {
			t.Errorf("certificates (-want +got):\n%s", diff)
		}
		if changed, err := s.Reload(); changed || !errors.Is(err, want) {
			t.Errorf("Reload: got %v, %v, want false and %v", changed, err, want)
		}

		os.MkdirAll(d.path, 0o700)
		d.pair(ca, "a", "a.test")
		d.pair(ca, "b", "b.test")
		d.write("ca", ca.pem)
		wait(defaultInterval)
		if len(reports) != 2 || reports[1] != nil {
			t.Errorf("after the repair: got reports %v, want one more, nil", reports)
		}
		if cmp.Equal(before, fingerprints(s)) {
			t.Error("got the old certificates, want the new ones")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want no error", err)
		}
	})
}

func fingerprints(s *certs.Store) (list []string) {
	for _, c := range s.Certificates() {
		list = append(list, c.Fingerprint)
	}
	return list
}

// Run without checks ends with its context.
func TestNoInterval(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	o := certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}, Interval: -1}
	synctest.Test(t, func(t *testing.T) {
		o.Notify = func(error) { t.Error("got a report, want none") }
		s := open(t, o)
		d.write("a.key", "x")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Kubernetes mounts secrets as links through ..data, a link that is replaced atomically.
func TestSymlinkSwap(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	version := func(name string, names ...string) {
		os.Mkdir(d.file(name), 0o700)
		dir{t, d.file(name)}.pair(ca, "tls", names...)
		os.Symlink(name, d.file("..tmp"))
		if err := os.Rename(d.file("..tmp"), d.file("..data")); err != nil {
			t.Skipf("this system has no symbolic links: %v", err)
		}
	}
	version("..1", "one.test")
	pair := certs.Pair{Cert: d.file("tls.crt"), Key: d.file("tls.key")}
	os.Symlink(filepath.Join("..data", "tls.crt"), pair.Cert)
	os.Symlink(filepath.Join("..data", "tls.key"), pair.Key)
	s := open(t, certs.Options{Pairs: []certs.Pair{pair}})
	version("..2", "two.test")
	reload(t, s)
	os.RemoveAll(d.file("..1"))
	if changed, err := s.Reload(); changed || err != nil {
		t.Errorf("after the removal of the old directory: got %v, %v, want false and no error", changed, err)
	}
	if diff := cmp.Diff([]string{"two.test"}, s.Certificates()[0].Names); diff != "" {
		t.Errorf("certificates (-want +got):\n%s", diff)
	}
}

// New handshakes use the new certificate, and existing connections continue.
func TestReloadKeepsConnections(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}})
	srv := serve(t, s.Config(nil))
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test"}
	old, _ := srv.mustDial(t, c)
	before := fingerprints(s)
	d.pair(ca, "a", "a.test")
	reload(t, s)
	young, _ := srv.mustDial(t, c)
	if old.ConnectionState().PeerCertificates[0].Equal(young.ConnectionState().PeerCertificates[0]) || cmp.Equal(before, fingerprints(s)) {
		t.Error("got the old certificate, want the new one")
	}
	if err := ping(old); err != nil {
		t.Errorf("old connection: got %v, want no error", err)
	}
}

func TestCertificates(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	p := d.pair(ca, "a", "A.test", "*.b.test", "not a name")
	cert, _ := os.ReadFile(p.Cert)
	soon := newShortLived(t)
	d.write("a.crt", string(cert)+soon.pem) // the validity of the chain counts
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "c", "c.test"), p}})
	got := s.Certificates()
	if len(got) != 2 || got[1].Pair != p || !cmp.Equal(got[1].Names, []string{"a.test", "*.b.test"}) || len(got[1].Fingerprint) != 64 {
		t.Errorf("got %+v, want the two certificates", got)
	}
	if soon := soon.cert.NotAfter; !got[1].NotAfter.Equal(soon) || !got[0].NotAfter.After(soon) {
		t.Errorf("NotAfter: got %v and %v, want a later time and %v", got[0].NotAfter, got[1].NotAfter, soon)
	}
	got[1].Names[0] = "changed by the caller"
	if s.Certificates()[1].Names[0] != "a.test" {
		t.Error("got a change by the caller, want the store unchanged")
	}
}

// The settings of base are kept, and its GetConfigForClient is called first.
func TestConfigKeepsBase(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	refused := errors.New("not today")
	base := &tls.Config{
		MaxVersion: tls.VersionTLS12,
		NextProtos: []string{"lines/1"},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.ServerName == "no.test" {
				return nil, refused
			}
			return nil, nil
		},
	}
	srv := serve(t, open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}}).Config(base))
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", NextProtos: []string{"lines/1"}}
	cli, _ := srv.mustDial(t, c)
	if state := cli.ConnectionState(); state.Version != tls.VersionTLS12 || state.NegotiatedProtocol != "lines/1" {
		t.Errorf("got %+v, want the settings of base", state)
	}
	c.ServerName = "no.test"
	srv.mustFail(t, c, refused)
}

func newShortLived(t *testing.T) *authority {
	a := new(authority)
	a.cert, a.key = issue(t, nil, shortLived())
	a.pem = certPEM(a.cert)
	return a
}
