package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/pires/go-proxyproto"

	"goranch/transport"
)

// Format returns the encoded header. Version 0 is 2. Source and Destination must be of one kind:
// TCP, UDP or Unix (version 1: TCP); otherwise, and if they are nil, the header states that they
// are unknown. A local header has no addresses. A CRC32C among the TLVs is left out; checksum adds
// the right one. Errors wrap [ErrBadHeader].
func Format(h *transport.ProxyHeader, checksum bool) ([]byte, error) {
	if err := check(h, checksum); err != nil {
		return nil, err
	}
	ph := proxyproto.HeaderProxyFromAddrs(byte(h.Version), libAddr(h.Source), libAddr(h.Destination))
	ph.Command = proxyproto.PROXY
	if h.Local {
		ph.Command, ph.TransportProtocol = proxyproto.LOCAL, proxyproto.UNSPEC
	}
	tlvs := make([]proxyproto.TLV, 0, len(h.TLVs)+1)
	for _, tlv := range h.TLVs {
		if tlv.Type != typeCRC32C {
			tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2Type(tlv.Type), Value: tlv.Value})
		}
	}
	if checksum {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, 4)})
	}
	if err := ph.SetTLVs(tlvs); err != nil {
		return nil, badHeader(err)
	}
	b, err := ph.Format()
	if err != nil {
		return nil, badHeader(err)
	}
	if checksum {
		at := len(b) - 4
		binary.BigEndian.PutUint32(b[at:], crcOf(b, at))
	}
	return b, nil
}

// check reports all faults of a header to be written, except those of its addresses that the
// library finds.
func check(h *transport.ProxyHeader, checksum bool) error {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrBadHeader}, args...)...))
	}
	if h.Version < 0 || h.Version > 2 {
		bad("Version %d: allowed are 1, 2, and 0 for 2", h.Version)
	}
	if h.Version == 1 && len(h.TLVs) > 0 {
		bad("TLVs: %d: allowed are none in version 1", len(h.TLVs))
	}
	if h.Version == 1 && checksum {
		bad("Checksum: version 1 has none")
	}
	for _, a := range []net.Addr{h.Source, h.Destination} {
		if u, ok := a.(*net.UnixAddr); ok && u != nil && len(u.Name) > unixName {
			bad("the name of a Unix socket has %d bytes: allowed are at most %d", len(u.Name), unixName)
		}
	}
	for i, tlv := range h.TLVs {
		if tlv.Type == typeCRC32C {
			continue
		}
		if err := checkTLV(tlv.Type, tlv.Value); err != nil {
			bad("TLVs[%d]: %w", i, err)
		}
	}
	return errors.Join(faults...)
}

// libAddr returns an address of a type that the library encodes, or nil. The name of an abstract
// socket begins with "@" in Go, and with a zero byte in the header.
func libAddr(a net.Addr) net.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		if a != nil {
			return a
		}
	case *net.UDPAddr:
		if a != nil {
			return a
		}
	case *net.UnixAddr:
		if a != nil {
			if rest, ok := strings.CutPrefix(a.Name, "@"); ok {
				return &net.UnixAddr{Net: a.Net, Name: "\x00" + rest}
			}
			return a
		}
	}
	return nil
}

// Forward returns the header with which a proxy passes on the client of conn: the addresses of
// conn, the TLVs of its own PROXY header, and the state of its TLS. It has version 2; for version
// 1, remove the TLVs.
func Forward(conn *transport.Conn) *transport.ProxyHeader {
	h := &transport.ProxyHeader{Version: 2, Source: conn.RemoteAddr(), Destination: conn.LocalAddr()}
	state, secure := conn.TLS()
	if p := conn.Proxy(); p != nil {
		h.Local = p.Local
		for _, tlv := range p.TLVs {
			switch tlv.Type {
			case typeCRC32C, typeNoop:
				continue
			case typeALPN, typeAuthority, typeSSL:
				if secure {
					continue // replaced by the state of conn
				}
			}
			h.TLVs = append(h.TLVs, tlv)
		}
	}
	if secure {
		h.TLVs = append(h.TLVs, tlsTLVs(&state)...)
	}
	return h
}

func tlsTLVs(state *tls.ConnectionState) []transport.TLV {
	s := &SSLInfo{
		TLS:     true,
		Verify:  1,
		Version: strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), // as OpenSSL and proxies write it
		Cipher:  tls.CipherSuiteName(state.CipherSuite),
	}
	if len(state.PeerCertificates) > 0 {
		s.CertConn, s.CertSession = !state.DidResume, true
		s.CN = state.PeerCertificates[0].Subject.CommonName
		if len(state.VerifiedChains) > 0 {
			s.Verify = 0
		}
	}
	d := Details{ALPN: state.NegotiatedProtocol, Authority: state.ServerName, SSL: s}
	tlvs, err := d.TLVs()
	if err != nil { // a common name of more than 65535 bytes
		d.SSL = nil
		tlvs, _ = d.TLVs()
	}
	return tlvs
}
