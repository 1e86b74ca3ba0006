package proxy_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
	"goranch/transport/proxy"
)

// Details are encoded and decoded without loss, also through a header with other TLVs.
func TestDetails(t *testing.T) {
	want := proxy.Details{
		ALPN: "h2", Authority: "example.org", UniqueID: make([]byte, proxy.MaxUniqueID), NetNS: "blue",
		SSL: &proxy.SSLInfo{
			TLS: true, CertConn: true, CertSession: true, Verified: true, Version: "TLSv1.3", CN: "player \xff", Cipher: "TLS_AES_128_GCM_SHA256",
			SigAlg: "SHA256", KeyAlg: "RSA2048", Group: "X25519", SigScheme: "rsa_pss_rsae_sha256", Cert: []byte{0x30, 0},
		},
		AWSEndpoint: "vpce-08d2bf15fac5001c9", AzureLinkID: 0x01000002, GCPConnectionID: 1<<32 + 2,
	}
	sent := &transport.ProxyHeader{Source: tcpAddr("192.0.2.1:1"), Destination: tcpAddr("192.0.2.2:2"), TLVs: append(
		must[[]transport.TLV](t)(want.TLVs()),
		transport.TLV{Type: proxy.TypeALPN, Value: []byte("second")},  // the first counts
		transport.TLV{Type: proxy.TypeCRC32C, Value: []byte("bad!")},  // Format replaces it
		transport.TLV{Type: proxy.TypeNoop, Value: []byte("padding")}, // read without its value
		transport.TLV{Type: 0xEA, Value: []byte("\x01vpce-08d2bf15fac5001c9")},
		transport.TLV{Type: 0xEE, Value: []byte("\x01\x02\x00\x00\x01")},
		transport.TLV{Type: 0xE0, Value: []byte("\x00\x00\x00\x01\x00\x00\x00\x02")},
		transport.TLV{Type: 0xF0, Value: []byte{}},
	)}
	srv, err := serveHeader(t, proxy.Require, string(must[[]byte](t)(proxy.Format(sent, true))))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, proxy.DetailsOf(srv.Proxy())); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if got, want := len(srv.Proxy().TLVs), len(sent.TLVs); got != want {
		t.Errorf("got %d TLVs, want %d", got, want)
	}
	for name, h := range map[string]*transport.ProxyHeader{"no header": nil, "no TLVs": {}} {
		if diff := cmp.Diff(proxy.Details{}, proxy.DetailsOf(h)); diff != "" {
			t.Errorf("%s: details (-want +got):\n%s", name, diff)
		}
	}
}

// Without a certificate, Verify is 0 as well.
func TestVerified(t *testing.T) {
	for _, c := range []struct {
		s    proxy.SSLInfo
		want bool
	}{
		{proxy.SSLInfo{TLS: true}, false},
		{proxy.SSLInfo{TLS: true, CertConn: true}, true},
		{proxy.SSLInfo{TLS: true, CertSession: true}, true},
		{proxy.SSLInfo{TLS: true, CertConn: true, Verify: 18}, false},
	} {
		h := &transport.ProxyHeader{TLVs: must[[]transport.TLV](t)(proxy.Details{SSL: &c.s}.TLVs())}
		if got := proxy.DetailsOf(h).SSL.Verified; got != c.want {
			t.Errorf("Verified of %+v: got %v, want %v", c.s, got, c.want)
		}
	}
}

func TestTLVsFaults(t *testing.T) {
	for name, d := range map[string]proxy.Details{
		"SSL":       {SSL: &proxy.SSLInfo{CN: strings.Repeat("n", 1<<16)}},
		"unique id": {UniqueID: make([]byte, proxy.MaxUniqueID+1)},
	} {
		tlvs, err := d.TLVs()
		if tlvs != nil || !errors.Is(err, proxy.ErrBadHeader) {
			t.Errorf("%s: got %v, %v, want ErrBadHeader", name, tlvs, err)
		}
	}
}

// Format returns an error for a header that cannot be encoded, and does not panic.
func TestFormatFaults(t *testing.T) {
	src := tcpAddr("192.0.2.1:1")
	for name, h := range map[string]*transport.ProxyHeader{
		"version":        {Version: 3},
		"port":           {Source: &net.TCPAddr{IP: src.IP, Port: 1 << 16}, Destination: src},
		"port v1":        {Version: 1, Source: &net.TCPAddr{IP: src.IP, Port: -1}, Destination: src},
		"Unix name":      {Source: &net.UnixAddr{Net: "unix", Name: strings.Repeat("n", 109)}, Destination: &net.UnixAddr{Net: "unix"}},
		"TLVs v1":        {Version: 1, TLVs: make([]transport.TLV, 1)},
		"unique id":      {TLVs: []transport.TLV{{Type: proxy.TypeUniqueID, Value: make([]byte, 129)}}},
		"SSL":            {TLVs: []transport.TLV{{Type: proxy.TypeSSL}}},
		"TLV of 64 KiB":  {TLVs: []transport.TLV{{Type: proxy.TypeNoop, Value: make([]byte, 1<<16)}}},
		"TLVs of 64 KiB": {TLVs: []transport.TLV{{Value: make([]byte, 1<<15)}, {Value: make([]byte, 1<<15)}}},
		"checksum v1":    {Version: 1},
	} {
		_, err := proxy.Format(h, name == "checksum v1")
		if err == nil {
			t.Errorf("%s: got no error, want ErrBadHeader", name)
		} else {
			wantIs(t, err, proxy.ErrBadHeader)
		}
	}
}

// Addresses that a header cannot express are encoded as unknown.
func TestFormatUnknown(t *testing.T) {
	tcp, unix := tcpAddr("192.0.2.1:1"), &net.UnixAddr{Net: "unix", Name: "/s"}
	for name, h := range map[string]*transport.ProxyHeader{
		"nil":             {},
		"IP":              {Source: &net.IPAddr{IP: tcp.IP}, Destination: &net.IPAddr{IP: tcp.IP}},
		"one":             {Source: tcp},
		"two kinds":       {Source: tcp, Destination: unix},
		"typed nil":       {Source: (*net.TCPAddr)(nil), Destination: (*net.UDPAddr)(nil)},
		"typed nil, unix": {Source: (*net.UnixAddr)(nil), Destination: unix},
		"no IP":           {Source: &net.TCPAddr{Port: 1}, Destination: tcp},
		"Unix in v1":      {Version: 1, Source: unix, Destination: unix},
	} {
		want := "\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00"
		if h.Version == 1 {
			want = "PROXY UNKNOWN\r\n"
		}
		if got, err := proxy.Format(h, false); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	mixed := &transport.ProxyHeader{Version: 1, Source: tcp, Destination: tcpAddr("[2001:db8::1]:2")}
	if got, err := proxy.Format(mixed, false); err != nil || string(got) != "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n" {
		t.Errorf("two families: got %q, %v, want TCP6", got, err)
	}
}

// The header of the second of two proxies has the address of the client, the TLVs of the first
// proxy and the state of TLS at the second.
func TestForward(t *testing.T) {
	config := testTLS()
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.NextProtos = []string{"game/1"}
	first := proxy.Transport{Inner: transport.TLS{Config: config}, Rules: []proxy.Rule{{Net: loopback}}, Checksum: true,
		Header: &transport.ProxyHeader{Source: tcpAddr("192.0.2.1:1000"), Destination: tcpAddr("192.0.2.2:443"), TLVs: []transport.TLV{
			{Type: proxy.TypeAuthority, Value: []byte("outer.example")},
			{Type: proxy.TypeUniqueID, Value: []byte("id")},
		}}}
	middle, client, err := connect(t, first, anyPort(t), first.Dial)
	if err != nil {
		t.Fatal(err)
	}
	second := kinds[0].trusting()
	second.Header, second.Checksum = proxy.Forward(middle), true
	srv, _, err := connect(t, second, anyPort(t), second.Dial)
	if err != nil {
		t.Fatal(err)
	}
	if got := srv.RemoteAddr().String() + " " + srv.LocalAddr().String(); got != "192.0.2.1:1000 192.0.2.2:443" {
		t.Errorf("addresses: got %s, want those in the first header", got)
	}
	h := srv.Proxy()
	cipher := tls.CipherSuiteName(client.(*tls.Conn).ConnectionState().CipherSuite)
	want := proxy.Details{ALPN: "game/1", Authority: "localhost", UniqueID: []byte("id"), SSL: &proxy.SSLInfo{
		TLS: true, CertConn: true, CertSession: true, Verified: true, Version: "TLSv1.3", CN: "player one", Cipher: cipher}}
	if diff := cmp.Diff(want, proxy.DetailsOf(h)); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if n := len(h.TLVs); n != 5 {
		t.Errorf("got %d TLVs, want 5: %v", n, h.TLVs)
	}
}

// Without PROXY header and TLS, the header has the addresses only.
func TestForwardPlain(t *testing.T) {
	srv, client, err := connect(t, transport.TCP{}, anyPort(t), transport.TCP{}.Dial)
	if err != nil {
		t.Fatal(err)
	}
	want := &text{Version: 2, Source: "tcp " + client.LocalAddr().String(), Dest: "tcp " + client.RemoteAddr().String()}
	if diff := cmp.Diff(want, addrsAsText(proxy.Forward(srv))); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}
