package proxy_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
	"goranch/transport/proxy"
)

// TestTLVs: each survives the way, and has its accessor.
func TestTLVs(t *testing.T) {
	ssl := proxy.SSLInfo{
		TLS: true, CertConn: true, CertSession: true, Version: "TLSv1.3", CN: "player \xff", Cipher: "TLS_AES_128_GCM_SHA256",
		SigAlg: "SHA256", KeyAlg: "RSA2048", Group: "X25519", SigScheme: "rsa_pss_rsae_sha256", Cert: []byte{0x30, 0},
	}
	sent := &transport.ProxyHeader{Source: tcpAddr("192.0.2.1:1"), Destination: tcpAddr("192.0.2.2:2"), TLVs: []transport.TLV{
		{Type: proxy.TypeALPN, Value: []byte("h2")},
		{Type: proxy.TypeAuthority, Value: []byte("example.org")},
		{Type: proxy.TypeCRC32C, Value: []byte("bad!")}, // Format knows better
		{Type: proxy.TypeNoop, Value: []byte("padding")},
		{Type: proxy.TypeUniqueID, Value: []byte(strings.Repeat("\x00", proxy.MaxUniqueID))},
		must[transport.TLV](t)(ssl.TLV()),
		{Type: proxy.TypeNetNS, Value: []byte("blue")},
		{Type: proxy.TypeAWS, Value: []byte("\x01vpce-08d2bf15fac5001c9")},
		{Type: proxy.TypeAzure, Value: []byte("\x01\x02\x00\x00\x01")},
		{Type: proxy.TypeGCP, Value: []byte("\x00\x00\x00\x01\x00\x00\x00\x02")},
		{Type: 0xF0, Value: []byte{}},
	}}
	srv, err := hear(t, proxy.Require, string(must[[]byte](t)(proxy.Format(sent, true))))
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]*transport.ProxyHeader{"sent": srv.Proxy(), "none": nil, "none with a header": {}} {
		has := name == "sent"
		wantTLV(t, name, has, "h2")(proxy.ALPN(h))
		wantTLV(t, name, has, "example.org")(proxy.Authority(h))
		wantTLV(t, name, has, "blue")(proxy.NetNS(h))
		wantTLV(t, name, has, "vpce-08d2bf15fac5001c9")(proxy.AWSEndpoint(h))
		wantTLV(t, name, has, uint32(0x01000002))(proxy.AzureLinkID(h))
		wantTLV(t, name, has, uint64(1<<32+2))(proxy.GCPConnectionID(h))
		id, ok := proxy.UniqueID(h)
		wantTLV(t, name, has, strings.Repeat("\x00", proxy.MaxUniqueID))(string(id), ok)
		got, ok := proxy.SSL(h)
		want := ssl
		if !has {
			want = proxy.SSLInfo{}
		}
		if diff := cmp.Diff(want, got); ok != has || diff != "" {
			t.Errorf("%s: SSL %v (-sent +read):\n%s", name, ok, diff)
		}
	}
	if n := len(srv.Proxy().TLVs); n != len(sent.TLVs) {
		t.Errorf("%d TLVs, want %d", n, len(sent.TLVs))
	}
}

func wantTLV[T comparable](t *testing.T, name string, has bool, want T) func(T, bool) {
	return func(got T, ok bool) {
		t.Helper()
		var zero T
		if !has {
			want = zero
		}
		if got != want || ok != has {
			t.Errorf("%s: got %v, %v, want %v, %v", name, got, ok, want, has)
		}
	}
}

// TestVerified: no certificate is not a good one.
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
		if c.s.Verified() != c.want {
			t.Errorf("%+v: %v", c.s, !c.want)
		}
	}
}

// TestFormatFaults: what cannot be written is said, and nothing panics.
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
			t.Errorf("%s: no error", name)
		} else {
			wantIs(t, err, proxy.ErrBadHeader)
		}
	}
	if _, err := (proxy.SSLInfo{CN: strings.Repeat("n", 1<<16)}).TLV(); err == nil {
		t.Error("SSL: no error")
	}
}

// TestFormatUnknown: what no header can express is said to be unknown.
func TestFormatUnknown(t *testing.T) {
	tcp, unix := tcpAddr("192.0.2.1:1"), &net.UnixAddr{Net: "unix", Name: "/s"}
	for name, h := range map[string]*transport.ProxyHeader{
		"nil":             {},
		"memory":          {Source: transport.MemAddr("a"), Destination: transport.MemAddr("b")},
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
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	mixed := &transport.ProxyHeader{Version: 1, Source: tcp, Destination: tcpAddr("[2001:db8::1]:2")}
	if got, err := proxy.Format(mixed, false); err != nil || string(got) != "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n" {
		t.Errorf("two families: %q, %v", got, err)
	}
}

// TestForward: a server behind two proxies, of which the second is ours, hears of the
// client, of what the first has said, and of the TLS that ours has ended.
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
		t.Errorf("addresses %s", got)
	}
	h := srv.Proxy()
	wantTLV(t, "authority", true, "localhost")(proxy.Authority(h))
	wantTLV(t, "alpn", true, "game/1")(proxy.ALPN(h))
	id, ok := proxy.UniqueID(h)
	wantTLV(t, "unique id", true, "id")(string(id), ok)
	s, ok := proxy.SSL(h)
	cipher := tls.CipherSuiteName(client.(*tls.Conn).ConnectionState().CipherSuite)
	want := proxy.SSLInfo{TLS: true, CertConn: true, CertSession: true, Version: "TLSv1.3", CN: "player one", Cipher: cipher}
	if diff := cmp.Diff(want, s); !ok || diff != "" || !s.Verified() {
		t.Errorf("SSL (-want +got):\n%s", diff)
	}
	if n := len(h.TLVs); n != 5 {
		t.Errorf("%d TLVs, want 5: %v", n, h.TLVs)
	}
}

// TestForwardPlain: without a header and without TLS there are the addresses.
func TestForwardPlain(t *testing.T) {
	srv, client, err := connect(t, transport.TCP{}, anyPort(t), transport.TCP{}.Dial)
	if err != nil {
		t.Fatal(err)
	}
	want := &text{Version: 2, Source: "tcp " + client.LocalAddr().String(), Dest: "tcp " + client.RemoteAddr().String()}
	if diff := cmp.Diff(want, addrsAsText(proxy.Forward(srv))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
