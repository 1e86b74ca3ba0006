package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"regexp"
	"strings"
	"testing"
)

// FuzzLookup checks that a host gets a certificate if and only if a client would accept it for the
// host.
func FuzzLookup(f *testing.F) {
	for _, s := range [][2]string{
		{"example.com", "example.com"}, {"*.example.com", "a.example.com"}, {"*.example.com", "a.b.example.com"},
		{"*.example.com", "example.com"}, {"*.com", ".com"}, {"*", "com"}, {"EXAMPLE.com", "example.COM"}, {"a.b.", "a.b"},
		{"f*.example.com", "foo.example.com"}, {"-a.com", "-a.com"}, {"*.a_b.com", "x.a_b.com"}, {"*.example.com", "*.example.com"}, {"", ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, name, host string) {
		s := &set{names: map[string][]*tls.Certificate{}}
		if p, ok := pattern(name); ok {
			s.names[p] = []*tls.Certificate{{}}
		}
		got := s.lookup(host) != nil
		_, valid := hostName(host)
		if !valid && got {
			t.Errorf("%q: got a certificate, want none: it is not a host name", host)
		}
		if net.ParseIP(host) != nil || !valid || strings.HasSuffix(name, ".") {
			return // IP addresses are not looked up by name; names in certificates do not end in a dot
		}
		if want := (&x509.Certificate{DNSNames: []string{name}}).VerifyHostname(host) == nil; got != want {
			t.Errorf("name %q, host %q: found %v, good for it %v", name, host, got, want)
		}
	})
}

var hexDigits = regexp.MustCompile(`[0-9A-Fa-f]{8}`)

func FuzzTicketKeys(f *testing.F) {
	key := strings.Repeat("0f", 32)
	for _, s := range []string{"", key, key + "\n" + key + "\n", "# newest\r\n" + key + "\r\n\n", key[1:], "zz" + key[2:], strings.Repeat(key+"\n", 17)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseTicketKeys(b)
		if (err == nil) != (len(keys) >= 1 && len(keys) <= maxTicketKeys) {
			t.Errorf("got %d keys, %v, want either keys or an error", len(keys), err)
		}
		if err != nil && hexDigits.MatchString(err.Error()) {
			t.Errorf("got error %v, want one without the key", err)
		}
	})
}

func FuzzCertificates(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFI"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := certificates(b)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("got %d certificates, %v, want either certificates or an error", len(list), err)
		}
		if err == nil && !bytes.Contains(b, pemBegin) {
			t.Error("got certificates from a file without any, want none")
		}
	})
}
