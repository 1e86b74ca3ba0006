package transport

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// Identity is the identity of a peer that a verified certificate proves.
type Identity struct {
	// CommonName is that of the subject; "" if it has none. It is not unique.
	CommonName string
	// DNSNames, URIs, Emails and IPs are the subject alternative names; nil if there are none.
	DNSNames []string
	URIs     []string
	Emails   []string
	IPs      []netip.Addr
	// Serial is the serial number, unique for its issuer, in hexadecimal as openssl prints it.
	Serial string
	// SPIFFE is the SPIFFE ID, such as "spiffe://example.org/billing"; "" if the certificate is not
	// an X.509-SVID, which has exactly one URI.
	SPIFFE string
	// Fingerprint is the SHA-256 digest of the certificate, as 64 lower-case hexadecimal digits.
	Fingerprint string
	// Certificate is the certificate. It is shared and must not be changed.
	Certificate *x509.Certificate
}

// IdentityOf returns the identity of the peer of a TLS connection, such as [Conn.TLS] or an HTTP
// request reports it. It is nil without TLS, without a certificate, and if the certificate was not
// verified: with tls.RequestClientCert and tls.RequireAnyClientCert a client can claim any name.
func IdentityOf(state tls.ConnectionState) *Identity {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	leaf := state.VerifiedChains[0][0]
	sum := sha256.Sum256(leaf.Raw)
	id := &Identity{
		CommonName:  leaf.Subject.CommonName,
		DNSNames:    leaf.DNSNames,
		Emails:      leaf.EmailAddresses,
		Fingerprint: hex.EncodeToString(sum[:]),
		Certificate: leaf,
	}
	if leaf.SerialNumber != nil {
		id.Serial = fmt.Sprintf("%X", leaf.SerialNumber)
	}
	if len(id.Serial)%2 == 1 {
		id.Serial = "0" + id.Serial
	}
	for _, u := range leaf.URIs {
		id.URIs = append(id.URIs, u.String())
	}
	if len(id.URIs) == 1 && strings.HasPrefix(id.URIs[0], "spiffe://") {
		id.SPIFFE = id.URIs[0]
	}
	for _, ip := range leaf.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			id.IPs = append(id.IPs, a.Unmap())
		}
	}
	return id
}
