package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/engine"
	"goranch/transport"
	"goranch/transport/proxy"
)

// headers has one header of each form.
var headers = map[string]*transport.ProxyHeader{
	"v1 IPv4":    {Version: 1, Source: tcpAddr("192.0.2.1:1000"), Destination: tcpAddr("192.0.2.2:443")},
	"v1 IPv6":    {Version: 1, Source: tcpAddr("[2001:db8::1]:1000"), Destination: tcpAddr("[2001:db8::2]:443")},
	"v1 unknown": {Version: 1},
	"v2 IPv4": {Version: 2, Source: tcpAddr("192.0.2.1:1000"), Destination: tcpAddr("192.0.2.2:443"),
		TLVs: []transport.TLV{{Type: proxy.TypeAuthority, Value: []byte("example.org")}}},
	"v2 IPv6":         {Version: 2, Source: tcpAddr("[2001:db8::1]:1000"), Destination: tcpAddr("[2001:db8::2]:443")},
	"v2 UDP":          {Version: 2, Source: &net.UDPAddr{IP: net.IP{192, 0, 2, 1}, Port: 1}, Destination: &net.UDPAddr{IP: net.IP{192, 0, 2, 2}, Port: 2}},
	"v2 Unix":         {Version: 2, Source: &net.UnixAddr{Net: "unix", Name: "/run/c"}, Destination: &net.UnixAddr{Net: "unix", Name: "/run/s"}},
	"v2 abstract":     {Version: 2, Source: &net.UnixAddr{Net: "unix", Name: "@c"}, Destination: &net.UnixAddr{Net: "unix", Name: "@s"}},
	"v2 unnamed Unix": {Version: 2, Source: &net.UnixAddr{Net: "unix"}, Destination: &net.UnixAddr{Net: "unix", Name: "/run/s"}},
	"v2 longest Unix": {Version: 2, Source: &net.UnixAddr{Net: "unix", Name: strings.Repeat("c", 108)}, Destination: &net.UnixAddr{Net: "unix", Name: strings.Repeat("s", 108)}},
	"v2 unspecified":  {Version: 2, TLVs: []transport.TLV{{Type: proxy.TypeUniqueID, Value: []byte("x")}}},
	"v2 local":        {Version: 2, Local: true},
}

// Over each transport, and however the header is split, the connection has the addresses of the
// header, and the payload begins after it.
func TestHeaderForms(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		for name, h := range headers {
			for _, how := range []string{apart, joined, byteWise} {
				t.Run(name+" "+how, func(t *testing.T) {
					tr := k.trusting()
					head := must[[]byte](t)(proxy.Format(h, false))
					srv, client, err := connect(t, tr, k.addr(t), after(tr.Inner, head, how))
					if err != nil {
						t.Fatal(err)
					}
					wantHeader(t, srv, h)
					wantEcho(t, srv, client)
				})
			}
		}
	})
}

// wantHeader checks that the connection reports h, or its own addresses if h has none.
func wantHeader(t *testing.T, srv *transport.Conn, h *transport.ProxyHeader) {
	t.Helper()
	if diff := cmp.Diff(addrsAsText(h), addrsAsText(srv.Proxy())); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	own := srv.NetConn()
	want := [2]net.Addr{own.RemoteAddr(), own.LocalAddr()}
	if h.Source != nil {
		want = [2]net.Addr{h.Source, h.Destination}
	}
	for i, got := range []net.Addr{srv.RemoteAddr(), srv.LocalAddr()} {
		if got.Network() != want[i].Network() || got.String() != want[i].String() {
			t.Errorf("address %d is %v, want %v", i, got, want[i])
		}
	}
}

// text is a header with addresses in a comparable form.
type text struct {
	Version int
	Local   bool
	Source  string
	Dest    string
	TLVs    []transport.TLV
}

func addrsAsText(h *transport.ProxyHeader) *text {
	if h == nil {
		return nil
	}
	addr := func(a net.Addr) string {
		if a == nil {
			return ""
		}
		return a.Network() + " " + a.String()
	}
	return &text{h.Version, h.Local, addr(h.Source), addr(h.Destination), h.TLVs}
}

// wantEcho checks that the payload begins with the first byte of the greeting, and that data of the
// server arrives.
func wantEcho(t *testing.T, srv, client net.Conn) {
	t.Helper()
	got := make([]byte, len(greeting))
	if _, err := io.ReadFull(srv, got); err != nil || string(got) != greeting {
		t.Fatalf("server: got %q, %v, want the greeting", got, err)
	}
	io.WriteString(srv, greeting)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != greeting {
		t.Fatalf("client: got %q, %v, want the greeting", got, err)
	}
}

// A pipe passes on each write separately. It is not an Accepted either, so the handshake creates a
// Conn.
func TestByteByByte(t *testing.T) {
	for name, h := range headers {
		t.Run(name, func(t *testing.T) {
			tr := proxy.Transport{Inner: transport.TCP{}, Local: proxy.Require}
			a, b := net.Pipe()
			defer b.Close()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for _, c := range append(must[[]byte](t)(proxy.Format(h, false)), "payload"...) {
					b.Write([]byte{c})
				}
			}()
			nc, err := tr.Handshake(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			wantHeader(t, nc.(*transport.Conn), h)
			got := make([]byte, 7)
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != "payload" {
				t.Errorf("got %q, %v, want payload", got, err)
			}
			<-sent
		})
	}
}

// The server reads the header that Dial has written, over each transport.
func TestDial(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		for name, h := range headers {
			for _, sum := range []bool{false, true} {
				if sum && h.Version == 1 || name == "v1 unknown" || name == "v2 unspecified" {
					continue // Dial fills in the addresses
				}
				t.Run(fmt.Sprintf("%s checksum=%v", name, sum), func(t *testing.T) {
					tr := k.trusting()
					tr.Header, tr.Checksum = h, sum
					srv, client, err := connect(t, tr, k.addr(t), tr.Dial)
					if err != nil {
						t.Fatal(err)
					}
					want := *h
					if sum {
						last := srv.Proxy().TLVs[len(h.TLVs)]
						if last.Type != proxy.TypeCRC32C {
							t.Fatalf("last TLV: got %v, want a checksum", last)
						}
						want.TLVs = append(want.TLVs[:len(h.TLVs):len(h.TLVs)], last)
					}
					wantHeader(t, srv, &want)
					io.WriteString(client, greeting)
					wantEcho(t, srv, client)
				})
			}
		}
	})
}

// Dial sends the addresses of the connection unless Header has others.
func TestDialSendsOwnAddresses(t *testing.T) {
	for version, h := range []*transport.ProxyHeader{1: {Version: 1}, 2: nil} {
		if version == 0 {
			continue
		}
		tr := kinds[0].trusting()
		tr.Header = h
		srv, client, err := connect(t, tr, anyPort(t), tr.Dial)
		if err != nil {
			t.Fatal(err)
		}
		wantHeader(t, srv, &transport.ProxyHeader{Version: version, Source: client.LocalAddr(), Destination: client.RemoteAddr()})
	}
}

// Each fault has its error, and the handshake of the inner transport does not run.
func TestRejected(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	v4 := "\xc0\x00\x02\x01\xc0\x00\x02\x02\x03\xe8\x01\xbb"
	sum := string(must[[]byte](t)(proxy.Format(headers["v2 IPv4"], true)))
	for name, c := range map[string]struct {
		sent string
		want error
	}{
		"nothing":                  {"", proxy.ErrNoHeader},
		"payload":                  {"GET / HTTP/1.1\r\n", proxy.ErrNoHeader},
		"nearly v1":                {"PROXYX TCP4", proxy.ErrNoHeader},
		"nearly v2":                {v2[:11] + "\r", proxy.ErrNoHeader},
		"v1 signature, then end":   {"PROX", proxy.ErrNoHeader},
		"v2 signature, then end":   {v2[:11], proxy.ErrNoHeader},
		"v1 truncated":             {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r", proxy.ErrMalformed},
		"v1 too long":              {"PROXY UNKNOWN " + strings.Repeat("x", 200), proxy.ErrTooLarge},
		"v1 108 bytes":             {"PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", proxy.ErrTooLarge},
		"v1 no carriage return":    {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", proxy.ErrMalformed},
		"v1 bad address":           {"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", proxy.ErrMalformed},
		"v1 wrong family":          {"PROXY TCP4 ::1 ::1 1 2\r\n", proxy.ErrMalformed},
		"v1 unknown family":        {"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", proxy.ErrMalformed},
		"v1 port":                  {"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", proxy.ErrMalformed},
		"v1 trailing":              {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", proxy.ErrMalformed},
		"v2 fixed part truncated":  {v2 + "\x21\x11\x00", proxy.ErrMalformed},
		"v2 truncated":             {v2 + "\x21\x11\x00\x0c" + v4[:11], proxy.ErrMalformed},
		"v2 version 1":             {v2 + "\x11\x11\x00\x0c" + v4, proxy.ErrMalformed},
		"v2 version 3":             {v2 + "\x31\x11\x00\x0c" + v4, proxy.ErrMalformed},
		"v2 command":               {v2 + "\x22\x11\x00\x0c" + v4, proxy.ErrMalformed},
		"v2 family":                {v2 + "\x21\x41\x00\x0c" + v4, proxy.ErrMalformed},
		"v2 protocol":              {v2 + "\x21\x13\x00\x0c" + v4, proxy.ErrMalformed},
		"v2 length of v4 for v6":   {v2 + "\x21\x21\x00\x0c" + v4, proxy.ErrMalformed},
		"v2 length too short":      {v2 + "\x21\x11\x00\x0b" + v4, proxy.ErrMalformed},
		"v2 length of no TLV":      {v2 + "\x21\x11\x00\x0e" + v4 + "\x01\x00", proxy.ErrMalformed},
		"v2 TLV longer than it":    {v2 + "\x21\x11\x00\x0f" + v4 + "\x01\x00\x01h2", proxy.ErrMalformed},
		"v2 too large":             {v2 + "\x21\x11\x10\x01" + strings.Repeat("x", 5000), proxy.ErrTooLarge},
		"v2 claims too much":       {v2 + "\x21\x11\xff\xff", proxy.ErrTooLarge},
		"v2 unique id":             {v2 + "\x21\x11\x00\x90" + v4 + "\x05\x00\x81" + strings.Repeat("i", 129), proxy.ErrMalformed},
		"v2 SSL of 4 bytes":        {v2 + "\x21\x11\x00\x13" + v4 + "\x20\x00\x04abcd", proxy.ErrMalformed},
		"v2 SSL lying inside":      {v2 + "\x21\x11\x00\x17" + v4 + "\x20\x00\x08\x01\x00\x00\x00\x00\x21\x00\x09", proxy.ErrMalformed},
		"v2 checksum of 3 bytes":   {v2 + "\x21\x11\x00\x12" + v4 + "\x03\x00\x03abc", proxy.ErrMalformed},
		"v2 two checksums":         {v2 + "\x21\x11\x00\x1a" + v4 + strings.Repeat("\x03\x00\x04abcd", 2), proxy.ErrMalformed},
		"v2 wrong checksum":        {sum[:len(sum)-1] + string(sum[len(sum)-1]^1), proxy.ErrChecksum},
		"v2 changed under its sum": {strings.Replace(sum, "example", "exbmple", 1), proxy.ErrChecksum},
		"local, wrong checksum":    {v2 + "\x20\x00\x00\x07\x03\x00\x04abcd", proxy.ErrChecksum},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serveHeader(t, proxy.Require, c.sent)
			wantIs(t, err, c.want)
			if t.Failed() || err == nil {
				return
			}
			for _, other := range []error{proxy.ErrNoHeader, proxy.ErrMalformed, proxy.ErrTooLarge, proxy.ErrChecksum, proxy.ErrRefused, os.ErrDeadlineExceeded} {
				if other != c.want && errors.Is(err, other) {
					t.Errorf("got %v, which matches %v as well, want one error", err, other)
				}
			}
		})
	}
}

// The block of a LOCAL header is skipped, whatever its family is and its bytes are.
func TestLocalBlockIsSkipped(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	for name, sent := range map[string]string{
		"empty":           "\x20\x00\x00\x00",
		"family 0x01":     "\x20\x01\x00\x00",
		"family 0x10":     "\x20\x10\x00\x04abcd",
		"family 0x20":     "\x20\x20\x00\x04abcd",
		"family 0x41":     "\x20\x41\x00\x04abcd",
		"family 0xff":     "\x20\xff\x00\x04abcd",
		"addresses":       "\x20\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x03\xe8\x01\xbb",
		"short TLV":       "\x20\x00\x00\x04\x20\x00\x01a",
		"half a TLV":      "\x20\x00\x00\x02\x01\x00",
		"TLV too long":    "\x20\x00\x00\x04\x01\x00\x09a",
		"IPv4, short TLV": "\x20\x11\x00\x0e\xc0\x00\x02\x01\xc0\x00\x02\x02\x03\xe8\x01\xbb\x01\x00",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := serveHeader(t, proxy.Require, v2+sent+"payload")
			if err != nil {
				t.Fatalf("got %v, want no error", err)
			}
			if h := conn.Proxy(); !h.Local || h.Source != nil || h.TLVs != nil || conn.RemoteAddr() != conn.NetConn().RemoteAddr() {
				t.Errorf("got header %+v and address %v, want a local one and the address of the connection", h, conn.RemoteAddr())
			}
			if got, err := io.ReadAll(conn); string(got) != "payload" || err != nil {
				t.Errorf("got %q, %v, want the payload", got, err)
			}
		})
	}
}

// serveHeader sends data and the end of the stream to a server with that policy, and returns the
// connection after the handshake.
func serveHeader(t *testing.T, p proxy.Policy, sent string) (*transport.Conn, error) {
	t.Helper()
	mem := new(transport.Mem)
	tr := proxy.Transport{Inner: mem, Local: p}
	srv, _, err := connect(t, tr, "m", func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := mem.Dial(ctx, addr)
		if err == nil {
			io.WriteString(nc, sent)
			nc.(interface{ CloseWrite() error }).CloseWrite()
		}
		return nc, err
	})
	return srv, err
}

// Headers that are unusual but allowed.
func TestAccepted(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	for name, c := range map[string]struct {
		sent string
		tlvs int
	}{
		"v1 unknown with addresses":  {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", 0},
		"v1 of 107 bytes":            {"PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", 0},
		"local of IPv4, no address":  {v2 + "\x20\x11\x00\x00", 0},
		"local of IPv4 with address": {v2 + "\x20\x11\x00\x0cabcdabcd1122", 0},
		"local with a TLV":           {v2 + "\x20\x00\x00\x05\x05\x00\x02id", 1},
		"local with anything":        {v2 + "\x20\x00\x00\x05abcde", 0},
		"proxy, unspecified":         {v2 + "\x21\x00\x00\x05\x05\x00\x02id", 1},
		"padding":                    {v2 + "\x21\x00\x00\x0a\x04\x00\x02xx\x05\x00\x02id", 2},
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := serveHeader(t, proxy.Require, c.sent+"payload")
			if err != nil {
				t.Fatal(err)
			}
			if srv.RemoteAddr() != srv.NetConn().RemoteAddr() || srv.LocalAddr() != srv.NetConn().LocalAddr() {
				t.Errorf("got addresses %v and %v, want those of the connection", srv.RemoteAddr(), srv.LocalAddr())
			}
			if n := len(srv.Proxy().TLVs); n != c.tlvs {
				t.Errorf("got %d TLVs, want %d", n, c.tlvs)
			}
			if got, err := io.ReadAll(srv); string(got) != "payload" || err != nil {
				t.Errorf("got %q, %v, want payload", got, err)
			}
		})
	}
}

// MaxHeaderBytes may be more than the library allows, and is exact.
func TestMaxHeaderBytes(t *testing.T) {
	h := &transport.ProxyHeader{Local: true, TLVs: []transport.TLV{{Type: proxy.TypeNoop, Value: make([]byte, 9997)}}}
	for limit, want := range map[int]error{10000: nil, 9999: proxy.ErrTooLarge} {
		mem := new(transport.Mem)
		tr := proxy.Transport{Inner: mem, Local: proxy.Require, MaxHeaderBytes: limit, Header: h}
		if _, _, err := connect(t, tr, "m", tr.Dial); !errors.Is(err, want) {
			t.Errorf("limit %d: got %v, want %v", limit, err, want)
		}
	}
}

// dialer is a transport outside this module.
type dialer struct {
	transport.Transport
	nc     net.Conn
	secure bool
}

func (dialer) Name() string                                     { return "own" }
func (d dialer) Secure() bool                                   { return d.secure }
func (d dialer) Dial(context.Context, string) (net.Conn, error) { return d.nc, nil }
func (dialer) Handshake(context.Context, net.Conn) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// Dial is refused if the payload is encrypted and the inner transport has no separate steps: the
// header must be sent first.
func TestDialNeedsSteps(t *testing.T) {
	_, err := proxy.Transport{Inner: dialer{secure: true}}.Dial(t.Context(), "x")
	wantIs(t, err, errors.ErrUnsupported)
}

func TestValidate(t *testing.T) {
	net10 := netip.MustParsePrefix("10.0.0.0/8")
	for name, c := range map[string]struct {
		t    proxy.Transport
		want []string
	}{
		"good":          {proxy.Transport{Inner: transport.TCP{}, Rules: []proxy.Rule{{Net: net10}, {Net: loopback, Policy: proxy.Pass}}, MaxHeaderBytes: 216}, nil},
		"no inner":      {proxy.Transport{}, []string{"Inner nil"}},
		"inner":         {proxy.Transport{Inner: transport.TCP{Backlog: -1}}, []string{"Inner", "Backlog -1"}},
		"policies":      {proxy.Transport{Inner: transport.TCP{}, Default: "a", Local: "b", Rules: []proxy.Rule{{net10, "c"}}}, []string{"Default a", "Local b", "Rules[0].Policy c"}},
		"no network":    {proxy.Transport{Inner: transport.TCP{}, Rules: []proxy.Rule{{}}}, []string{"Rules[0].Net invalid Prefix"}},
		"mapped":        {proxy.Transport{Inner: transport.TCP{}, Rules: []proxy.Rule{{Net: netip.MustParsePrefix("::ffff:10.0.0.0/104")}}}, []string{"Rules[0].Net ::ffff:10.0.0.0/104"}},
		"twice":         {proxy.Transport{Inner: transport.TCP{}, Rules: []proxy.Rule{{Net: net10}, {Net: netip.MustParsePrefix("10.9.9.9/8")}}}, []string{"Rules[1].Net 10.9.9.9/8"}},
		"header limit":  {proxy.Transport{Inner: transport.TCP{}, MaxHeaderBytes: 215}, []string{"MaxHeaderBytes 215", "216 to 65520"}},
		"header limit+": {proxy.Transport{Inner: transport.TCP{}, MaxHeaderBytes: 65521}, []string{"MaxHeaderBytes 65521"}},
		"header":        {proxy.Transport{Inner: transport.TCP{}, Header: &transport.ProxyHeader{Version: 1, TLVs: make([]transport.TLV, 1)}, Checksum: true}, []string{"TLVs", "Checksum"}},
		"everything":    {proxy.Transport{Default: "x", MaxHeaderBytes: -1}, []string{"Inner nil", "Default", "MaxHeaderBytes -1"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.t.Validate()
			if (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want faults %q", err, c.want)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got error %[2]v, want %[1]q in it", w, err)
				}
			}
			if err != nil {
				if _, lerr := c.t.Listen(t.Context(), "127.0.0.1:0"); lerr == nil {
					t.Error("Listen: got no error, want that of Validate")
				}
				if _, derr := c.t.Dial(t.Context(), "127.0.0.1:1"); derr == nil || derr.Error() != err.Error() {
					t.Errorf("Dial: got %v, want that of Validate", derr)
				}
			}
		})
	}
}

// The optional interfaces of the inner transport are available through the wrapper.
func TestWrapped(t *testing.T) {
	tr := proxy.Transport{Inner: transport.TLS{Config: testTLS()}}
	if tr.Name() != "proxy+tls" || !tr.Secure() || engine.Plain(tr) || engine.Plain(proxy.Transport{Inner: transport.TCP{}}) {
		t.Errorf("got name %q, secure %v, want proxy+tls, true, not plain", tr.Name(), tr.Secure())
	}
	if inner := (proxy.Transport{Inner: &tr}).Unwrap(); inner != transport.Transport(&tr) {
		t.Errorf("Unwrap: got %v, want the inner transport", inner)
	}
	if (proxy.Transport{}).Secure() || (proxy.Transport{}).Name() != "proxy" {
		t.Error("Listen without an inner transport: got no error, want one")
	}
	if _, err := (proxy.Transport{}).Handshake(t.Context(), nil); err == nil {
		t.Error("Handshake without an inner transport: got no error, want one")
	}
}

// The send timeout of the inner transport applies.
func TestSendTimeoutOfInner(t *testing.T) {
	k := kind{make: func() transport.Transport { return transport.TCP{SendTimeout: 50 * time.Millisecond} }}
	tr := k.trusting()
	srv, _, err := connect(t, tr, anyPort(t), tr.Dial)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil { // until the client, which does not read, accepts nothing more
		_, err = srv.Write(make([]byte, 1<<20))
	}
	wantIs(t, err, transport.ErrSendTimeout)
}
