package proxy

import (
	"encoding/binary"
	"fmt"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"goranch/transport"
)

// Types of TLVs that the specification defines.
const (
	typeALPN      = byte(proxyproto.PP2_TYPE_ALPN)
	typeAuthority = byte(proxyproto.PP2_TYPE_AUTHORITY)
	typeCRC32C    = byte(proxyproto.PP2_TYPE_CRC32C) // verified when read, added by Format
	typeNoop      = byte(proxyproto.PP2_TYPE_NOOP)   // padding; its value is dropped
	typeUniqueID  = byte(proxyproto.PP2_TYPE_UNIQUE_ID)
	typeSSL       = byte(proxyproto.PP2_TYPE_SSL)
	typeNetNS     = byte(proxyproto.PP2_TYPE_NETNS)
)

const maxUniqueID = 128

// Details are the statements of a header, decoded from its TLVs. A zero field is not in the header.
type Details struct {
	ALPN      string   // the protocol that client and proxy negotiated, such as "h2"
	Authority string   // the host name that the client requested, for instance by SNI
	UniqueID  []byte   // the proxy's id of the connection, at most 128 bytes
	NetNS     string   // the network namespace in which the client connected
	SSL       *SSLInfo // TLS between client and proxy

	// The fields below are set by load balancers of cloud providers. TLVs does not encode them.
	AWSEndpoint     string // the id of the VPC endpoint (AWS PrivateLink)
	AzureLinkID     uint32 // the link id of the private endpoint (Azure Private Link)
	GCPConnectionID uint64 // the PSC connection id (Google Cloud Private Service Connect)
}

// SSLInfo describes the TLS connection between client and proxy. Unknown strings are "".
type SSLInfo struct {
	TLS         bool   // the client uses TLS
	CertConn    bool   // it presented a certificate on this connection
	CertSession bool   // it presented a certificate at least once in this TLS session
	Verify      uint32 // the result of verifying the certificate: 0 is success, or no certificate
	Verified    bool   // a certificate was presented and Verify is 0; not encoded by TLVs

	Version   string // the version of TLS, such as "TLSv1.3"
	CN        string // the common name in the client's certificate
	Cipher    string // such as "ECDHE-RSA-AES128-GCM-SHA256"
	SigAlg    string // the signature of the proxy's certificate, such as "SHA256"
	KeyAlg    string // the key of the proxy's certificate, such as "RSA2048"
	Group     string // the group of the key exchange, such as "X25519"
	SigScheme string // the signature scheme of the handshake, such as "rsa_pss_rsae_sha256"
	Cert      []byte // the client's certificate, DER
}

// DetailsOf decodes the TLVs of h. h may be nil: then the result is zero. Of several TLVs of one
// type, the first counts. The result shares memory with h.
func DetailsOf(h *transport.ProxyHeader) Details {
	var d Details
	if h == nil {
		return d
	}
	var seen [256]bool
	lib := make([]proxyproto.TLV, len(h.TLVs))
	for i, tlv := range h.TLVs {
		lib[i] = proxyproto.TLV{Type: proxyproto.PP2Type(tlv.Type), Value: tlv.Value}
		if !seen[tlv.Type] {
			seen[tlv.Type] = true
			d.set(tlv)
		}
	}
	d.AWSEndpoint = tlvparse.FindAWSVPCEndpointID(lib)
	d.AzureLinkID, _ = tlvparse.FindAzurePrivateEndpointLinkID(lib)
	d.GCPConnectionID, _ = tlvparse.ExtractPSCConnectionID(lib)
	return d
}

func (d *Details) set(tlv transport.TLV) {
	switch tlv.Type {
	case typeALPN:
		d.ALPN = string(tlv.Value)
	case typeAuthority:
		d.Authority = string(tlv.Value)
	case typeUniqueID:
		d.UniqueID = tlv.Value
	case typeNetNS:
		d.NetNS = string(tlv.Value)
	case typeSSL:
		if s, err := parseSSL(tlv.Value); err == nil {
			d.SSL = &s
		}
	}
}

// TLVs encodes d for the TLVs of a header. The error wraps [ErrBadHeader]: a value is longer than
// the protocol allows.
func (d Details) TLVs() (tlvs []transport.TLV, err error) {
	add := func(typ byte, value []byte) {
		if len(value) == 0 {
			return
		}
		if cerr := checkTLV(typ, value); cerr != nil && err == nil {
			err = badHeader(cerr)
		}
		tlvs = append(tlvs, transport.TLV{Type: typ, Value: value})
	}
	add(typeALPN, []byte(d.ALPN))
	add(typeAuthority, []byte(d.Authority))
	add(typeUniqueID, d.UniqueID)
	if d.SSL != nil {
		value, serr := d.SSL.encode()
		if serr != nil {
			return nil, serr
		}
		add(typeSSL, value)
	}
	add(typeNetNS, []byte(d.NetNS))
	if err != nil {
		return nil, err
	}
	return tlvs, nil
}

// checkTLV reports a value that its type does not allow.
func checkTLV(typ byte, value []byte) error {
	switch {
	case typ == typeCRC32C && len(value) != 4:
		return fmt.Errorf("a checksum of %d bytes: it has 4", len(value))
	case typ == typeUniqueID && len(value) > maxUniqueID:
		return fmt.Errorf("a unique id of %d bytes: allowed are at most %d", len(value), maxUniqueID)
	case typ == typeSSL:
		_, err := parseSSL(value)
		return err
	}
	return nil
}

// firstString is the type of the first string in an SSL TLV.
const firstString = proxyproto.PP2_SUBTYPE_SSL_VERSION

// strings returns the strings of s in the order of their types.
func (s *SSLInfo) strings() [7]*string {
	return [...]*string{&s.Version, &s.CN, &s.Cipher, &s.SigAlg, &s.KeyAlg, &s.Group, &s.SigScheme}
}

// parseSSL accepts strings that are not UTF-8, which names in certificates are at times; the
// library does not.
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
	s.Verified = (s.CertConn || s.CertSession) && s.Verify == 0
	strings := s.strings()
	for _, sub := range subs {
		if i := int(sub.Type) - int(firstString); i >= 0 && i < len(strings) {
			*strings[i] = string(sub.Value)
		} else if sub.Type == proxyproto.PP2_SUBTYPE_SSL_CLIENT_CERT {
			s.Cert = sub.Value
		}
	}
	return s, nil
}

// encode returns the value of the SSL TLV. It fails if a string is longer than 65535 bytes.
func (s *SSLInfo) encode() ([]byte, error) {
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
	for i, text := range s.strings() {
		if *text != "" {
			out.TLV = append(out.TLV, proxyproto.TLV{Type: firstString + proxyproto.PP2Type(i), Value: []byte(*text)})
		}
	}
	if s.Cert != nil {
		out.TLV = append(out.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CLIENT_CERT, Value: s.Cert})
	}
	tlv, err := out.Marshal()
	if err != nil {
		return nil, badHeader(err)
	}
	return tlv.Value, nil
}
