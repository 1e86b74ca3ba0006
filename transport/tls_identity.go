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

// Identity is who a peer has proved to be by its certificate.
type Identity struct {
	// CommonName is the subject's; "" if it has none. Many may have the same.
	CommonName string
	// DNSNames, URIs, Emails and IPs are the alternative names, nil if there are none.
	DNSNames []string
	URIs     []string
	Emails   []string
	IPs      []netip.Addr
	// Serial is the number the issuer gave it, in hexadecimal as openssl shows it. It is unique
	// for one issuer only.
	Serial string
	// Fingerprint is the SHA-256 of the certificate, as 64 hexadecimal digits in lower case.
	Fingerprint string
	// Certificate is the certificate itself. It is shared, and must not be changed.
	Certificate *x509.Certificate
}

// SPIFFE returns the SPIFFE ID, such as "spiffe://example.org/billing", or "" if the
// certificate is no SVID: those have exactly one URI.
func (id *Identity) SPIFFE() string {
	if len(id.URIs) == 1 && strings.HasPrefix(id.URIs[0], "spiffe://") {
		return id.URIs[0]
	}
	return ""
}

// Identity returns who the client is by its VERIFIED certificate. It is nil without TLS,
// without a certificate, and when the certificate was not verified against ClientCAs: with
// tls.RequestClientCert and tls.RequireAnyClientCert anybody can claim to be anybody; TLS has
// those. It may be called from any goroutine; each call makes a new one.
func (c *Conn) Identity() *Identity {
	state, _ := c.TLS()
	return IdentityOf(state)
}

// IdentityOf is [Conn.Identity] for the state of a TLS connection from elsewhere, and for the
// client's side.
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
	for _, ip := range leaf.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			id.IPs = append(id.IPs, a.Unmap())
		}
	}
	return id
}
