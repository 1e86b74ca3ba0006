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

// Format returns the bytes of a header. Version 0 is 2. The kinds of addresses are TCP,
// UDP and Unix (version 1: TCP only), both the same; with others, and with nil, the
// header says that they are unknown. A local one has no addresses. A CRC32C among the TLVs is left out; checksum adds
// the right one. Errors wrap [ErrBadHeader].
func Format(h *transport.ProxyHeader, checksum bool) ([]byte, error) {
	if err := check(h, checksum); err != nil {
		return nil, err
	}
	ph := proxyproto.HeaderProxyFromAddrs(byte(h.Version), plainAddr(h.Source), plainAddr(h.Destination))
	ph.Command = proxyproto.PROXY
	if h.Local {
		ph.Command, ph.TransportProtocol = proxyproto.LOCAL, proxyproto.UNSPEC
	}
	tlvs := make([]proxyproto.TLV, 0, len(h.TLVs)+1)
	for _, tlv := range h.TLVs {
		if tlv.Type != TypeCRC32C {
			tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2Type(tlv.Type), Value: tlv.Value})
		}
	}
	if checksum {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, 4)})
	}
	if err := ph.SetTLVs(tlvs); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadHeader, err)
	}
	b, err := ph.Format()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadHeader, err)
	}
	if checksum {
		at := len(b) - 4
		binary.BigEndian.PutUint32(b[at:], crcOf(b, at))
	}
	return b, nil
}

// check reports every fault of a header that is to be written, but those of its addresses
// that the library finds.
func check(h *transport.ProxyHeader, checksum bool) error {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrBadHeader}, args...)...))
	}
	if h.Version < 0 || h.Version > 2 {
		bad("Version %d: allowed are 1 and 2, and 0 for 2", h.Version)
	}
	if h.Version == 1 && len(h.TLVs) > 0 {
		bad("%d TLVs: version 1 has none", len(h.TLVs))
	}
	if h.Version == 1 && checksum {
		bad("a checksum: version 1 has none")
	}
	for _, a := range []net.Addr{h.Source, h.Destination} {
		if u, ok := a.(*net.UnixAddr); ok && u != nil && len(u.Name) > unixName {
			bad("the name of a Unix socket of %d bytes: allowed are %d", len(u.Name), unixName)
		}
	}
	for i, tlv := range h.TLVs {
		if tlv.Type == TypeCRC32C {
			continue
		}
		if err := checkTLV(tlv.Type, tlv.Value); err != nil {
			bad("TLVs[%d]: %w", i, err)
		}
	}
	return errors.Join(faults...)
}

// plainAddr returns an address that the library knows what to do with, or nil. A socket
// without a file has "@" in Go where the header has a zero byte.
func plainAddr(a net.Addr) net.Addr {
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

// Forward returns the header that says who is at the other end of conn, for a proxy that
// dials on its behalf: the addresses of the connection, what a PROXY header that it began
// with has said besides, and its TLS. It is of version 2; for version 1, drop its TLVs.
func Forward(conn *transport.Conn) *transport.ProxyHeader {
	h := &transport.ProxyHeader{Version: 2, Source: conn.RemoteAddr(), Destination: conn.LocalAddr()}
	state, secure := conn.TLS()
	if p := conn.Proxy(); p != nil {
		h.Local = p.Local
		for _, tlv := range p.TLVs {
			switch tlv.Type {
			case TypeCRC32C, TypeNoop:
				continue
			case TypeALPN, TypeAuthority, TypeSSL:
				if secure {
					continue // ours is nearer to the server
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

func tlsTLVs(state *tls.ConnectionState) (tlvs []transport.TLV) {
	if p := state.NegotiatedProtocol; p != "" {
		tlvs = append(tlvs, transport.TLV{Type: TypeALPN, Value: []byte(p)})
	}
	if name := state.ServerName; name != "" {
		tlvs = append(tlvs, transport.TLV{Type: TypeAuthority, Value: []byte(name)})
	}
	s := SSLInfo{
		TLS:     true,
		Verify:  1,
		Version: strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), // as OpenSSL, and so proxies, write it
		Cipher:  tls.CipherSuiteName(state.CipherSuite),
	}
	if len(state.PeerCertificates) > 0 {
		s.CertConn, s.CertSession = !state.DidResume, true
		s.CN = state.PeerCertificates[0].Subject.CommonName
		if len(state.VerifiedChains) > 0 {
			s.Verify = 0
		}
	}
	if tlv, err := s.TLV(); err == nil { // a name of 64 KiB has no room
		tlvs = append(tlvs, tlv)
	}
	return tlvs
}
