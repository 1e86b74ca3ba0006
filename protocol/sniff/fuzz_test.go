package sniff_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/sniff"
)

// received is a connection on which bytes have arrived and then the end of input.
type received struct {
	net.Conn
	*bytes.Reader
}

func (r received) Read(p []byte) (int, error) { return r.Reader.Read(p) }
func (received) Write(p []byte) (int, error)  { return len(p), nil }
func (received) Close() error                 { return nil }

// helloInfo is what routes depend on.
type helloInfo struct {
	server string
	alpn   []string
}

// cryptoTLS returns what GetConfigForClient of crypto/tls gets for the bytes; nil if it is not
// called.
func cryptoTLS(first []byte) (info *helloInfo) {
	server := tls.Server(received{Reader: bytes.NewReader(first)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			info = &helloInfo{h.ServerName, h.SupportedProtos}
			return nil, errors.New("enough")
		},
	})
	server.Handshake()
	return info
}

func parsed(first []byte) (*helloInfo, bool) {
	h, more := sniff.ParseClientHello(first)
	if h == nil {
		return nil, more
	}
	return &helloInfo{h.ServerName, slices.Collect(h.ALPN())}, more
}

// usual reports whether the complete records in first are handshake records of version 3.x, at most
// 128, as those of every client are. crypto/tls accepts others too.
func usual(first []byte) bool {
	match, _ := sniff.TLS()(first)
	count := 0
	for len(first) >= 5 {
		n := 5 + int(first[3])<<8 + int(first[4])
		if count++; first[0] != 22 || first[1] != 3 || count > 128 {
			return false
		}
		first = first[min(n, len(first)):]
	}
	return match
}

// A server that uses crypto/tls finds the server name and ALPN that the parser has found, and none
// where the parser has found no ClientHello.
func FuzzParseClientHello(f *testing.F) {
	for _, h := range hellos {
		f.Add([]byte(h.first))
	}
	for _, config := range clientConfigs {
		f.Add(realHello(f, config.config))
	}
	f.Fuzz(func(t *testing.T, first []byte) {
		got, more := parsed(first)
		theirs := cryptoTLS(first)
		switch {
		case more && got != nil:
			t.Fatalf("got %+v, and more", got)
		case theirs != nil && usual(first):
			if diff := cmp.Diff(theirs, got, cmp.AllowUnexported(helloInfo{})); diff != "" {
				t.Fatalf("(-crypto/tls +got):\n%s", diff)
			}
		case got != nil && theirs == nil: // the fault is in another extension
			alone := rebuilt(got)
			if diff := cmp.Diff(cryptoTLS(alone), got, cmp.AllowUnexported(helloInfo{})); diff != "" {
				t.Fatalf("without other extensions (-crypto/tls +got):\n%s", diff)
			}
		}
		if n := len(first) / 2; n > 0 {
			if early, more := parsed(first[:n]); !more && cmp.Diff(early, got, cmp.AllowUnexported(helloInfo{})) != "" {
				t.Fatalf("got %+v for %d bytes, then %+v", early, n, got)
			}
		}
	})
}

// rebuilt returns a ClientHello with the server name and ALPN, in one record or more.
func rebuilt(h *helloInfo) []byte {
	var extensions []string
	if h.server != "" {
		extensions = append(extensions, serverName(h.server))
	}
	if len(h.alpn) > 0 {
		extensions = append(extensions, alpn(h.alpn...))
	}
	return []byte(records(message(extensions...), 1<<14))
}
