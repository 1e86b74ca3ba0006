package proxy

import (
	"encoding/binary"
	"fmt"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"goranch/transport"
)

// The types of TLVs that the specification knows, and those of cloud providers.
const (
	TypeALPN      byte = 0x01
	TypeAuthority byte = 0x02
	TypeCRC32C    byte = 0x03 // verified when read, added by Format
	TypeNoop      byte = 0x04 // padding; its value is not kept
	TypeUniqueID  byte = 0x05
	TypeSSL       byte = 0x20
	TypeNetNS     byte = 0x30
	TypeGCP       byte = 0xE0
	TypeAWS       byte = 0xEA
	TypeAzure     byte = 0xEE
)

// MaxUniqueID is how many bytes a unique id has at most.
const MaxUniqueID = 128

// checkTLV reports a value that its type does not allow.
func checkTLV(typ byte, value []byte) error {
	switch {
	case typ == TypeCRC32C && len(value) != 4:
		return fmt.Errorf("a checksum of %d bytes: it has 4", len(value))
	case typ == TypeUniqueID && len(value) > MaxUniqueID:
		return fmt.Errorf("a unique id of %d bytes: allowed are %d", len(value), MaxUniqueID)
	case typ == TypeSSL:
		_, err := parseSSL(value)
		return err
	}
	return nil
}

// value returns that of the first TLV of a type. h may be nil, as it is for all below: a
// connection without a header has no TLVs.
func value(h *transport.ProxyHeader, typ byte) ([]byte, bool) {
	if h != nil {
		for _, tlv := range h.TLVs {
			if tlv.Type == typ {
				return tlv.Value, true
			}
		}
	}
	return nil, false
}

func text(h *transport.ProxyHeader, typ byte) (string, bool) {
	v, ok := value(h, typ)
	return string(v), ok
}

// ALPN returns the protocol that client and proxy have agreed upon, such as "h2".
func ALPN(h *transport.ProxyHeader) (string, bool) { return text(h, TypeALPN) }

// Authority returns the host name that the client asked for, by SNI for instance.
func Authority(h *transport.ProxyHeader) (string, bool) { return text(h, TypeAuthority) }

// UniqueID returns the proxy's id of the connection, at most 128 bytes of any kind.
func UniqueID(h *transport.ProxyHeader) ([]byte, bool) { return value(h, TypeUniqueID) }

// NetNS returns the name of the network namespace that the client has connected in.
func NetNS(h *transport.ProxyHeader) (string, bool) { return text(h, TypeNetNS) }

// AWSEndpoint returns the id of the VPC endpoint, if the client came through AWS PrivateLink.
func AWSEndpoint(h *transport.ProxyHeader) (string, bool) {
	id := tlvparse.FindAWSVPCEndpointID(libTLVs(h))
	return id, id != ""
}

// AzureLinkID returns the link id of the private endpoint, if the client came through
// Azure Private Link.
func AzureLinkID(h *transport.ProxyHeader) (uint32, bool) {
	return tlvparse.FindAzurePrivateEndpointLinkID(libTLVs(h))
}

// GCPConnectionID returns the PSC connection id, if the client came through Private
// Service Connect of the Google Cloud.
func GCPConnectionID(h *transport.ProxyHeader) (uint64, bool) {
	return tlvparse.ExtractPSCConnectionID(libTLVs(h))
}

func libTLVs(h *transport.ProxyHeader) []proxyproto.TLV {
	if h == nil {
		return nil
	}
	tlvs := make([]proxyproto.TLV, len(h.TLVs))
	for i, tlv := range h.TLVs {
		tlvs[i] = proxyproto.TLV{Type: proxyproto.PP2Type(tlv.Type), Value: tlv.Value}
	}
	return tlvs
}

// SSLInfo is what a proxy that ends TLS says of it. Texts that it has not said are "".
type SSLInfo struct {
	TLS         bool   // the client speaks TLS with the proxy
	CertConn    bool   // it has shown a certificate on this connection
	CertSession bool   // or at least once in this TLS session
	Verify      uint32 // the proxy's verdict on it, 0 is good; see Verified

	Version   string // of TLS, such as "TLSv1.3"
	CN        string // the common name in the client's certificate
	Cipher    string // such as "ECDHE-RSA-AES128-GCM-SHA256"
	SigAlg    string // how the proxy's certificate is signed, such as "SHA256"
	KeyAlg    string // the key of the proxy's certificate, such as "RSA2048"
	Group     string // of the key exchange, such as "X25519"
	SigScheme string // of the handshake, such as "rsa_pss_rsae_sha256"
	Cert      []byte // the client's certificate, DER
}

// Verified reports whether the client has shown a certificate that the proxy has
// verified. Verify alone is 0 as well when there was none.
func (s SSLInfo) Verified() bool { return (s.CertConn || s.CertSession) && s.Verify == 0 }

// SSL returns what the proxy says of its TLS with the client.
func SSL(h *transport.ProxyHeader) (SSLInfo, bool) {
	v, ok := value(h, TypeSSL)
	if !ok {
		return SSLInfo{}, false
	}
	s, err := parseSSL(v)
	return s, err == nil
}

// firstText is the type that the first of the texts has inside the SSL TLV.
const firstText = proxyproto.PP2_SUBTYPE_SSL_VERSION

// texts returns where each text goes, in the order of their types.
func (s *SSLInfo) texts() [7]*string {
	return [...]*string{&s.Version, &s.CN, &s.Cipher, &s.SigAlg, &s.KeyAlg, &s.Group, &s.SigScheme}
}

// parseSSL is more lenient than the library's: names in certificates are not always UTF-8.
func parseSSL(v []byte) (s SSLInfo, err error) {
	if len(v) < 5 {
		return s, fmt.Errorf("an SSL TLV of %d bytes: it has at least 5", len(v))
	}
	subs, err := proxyproto.SplitTLVs(v[5:])
	if err != nil {
		return s, fmt.Errorf("SSL TLV: %w", err)
	}
	s.TLS = v[0]&tlvparse.PP2_BITFIELD_CLIENT_SSL != 0
	s.CertConn = v[0]&tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN != 0
	s.CertSession = v[0]&tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS != 0
	s.Verify = binary.BigEndian.Uint32(v[1:])
	texts := s.texts()
	for _, sub := range subs {
		if i := int(sub.Type) - int(firstText); i >= 0 && i < len(texts) {
			*texts[i] = string(sub.Value)
		} else if sub.Type == proxyproto.PP2_SUBTYPE_SSL_CLIENT_CERT {
			s.Cert = sub.Value
		}
	}
	return s, nil
}

// TLV returns s as it stands in a header. The error is that a value has more than the
// 65535 bytes that there is room for.
func (s SSLInfo) TLV() (transport.TLV, error) {
	out := tlvparse.PP2SSL{Verify: s.Verify}
	for bit, set := range map[uint8]bool{
		tlvparse.PP2_BITFIELD_CLIENT_SSL:       s.TLS,
		tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN: s.CertConn,
		tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS: s.CertSession,
	} {
		if set {
			out.Client |= bit
		}
	}
	for i, text := range s.texts() {
		if *text != "" {
			out.TLV = append(out.TLV, proxyproto.TLV{Type: firstText + proxyproto.PP2Type(i), Value: []byte(*text)})
		}
	}
	if s.Cert != nil {
		out.TLV = append(out.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CLIENT_CERT, Value: s.Cert})
	}
	tlv, err := out.Marshal()
	if err != nil {
		return transport.TLV{}, fmt.Errorf("%w: %w", ErrBadHeader, err)
	}
	return transport.TLV{Type: TypeSSL, Value: tlv.Value}, nil
}
