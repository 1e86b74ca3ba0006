package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
)

// Validate reports every option that cannot be used: those of the sockets below, and
// what in Config could only fail, or let in whom nobody meant, once clients are there.
func (t TLS) Validate() error {
	var faults []error
	if sockets, ok := t.TCP.Validate().(interface{ Unwrap() []error }); ok {
		faults = sockets.Unwrap()
	}
	if t.Config != nil {
		faults = slices.Concat(faults, versionFaults(t.Config), clientAuthFaults(t.Config), suiteFaults(t.Config), listFaults(t.Config))
	}
	return errors.Join(faults...)
}

func listFaults(c *tls.Config) (faults []error) {
	for i, cert := range c.Certificates {
		if len(cert.Certificate) == 0 || cert.PrivateKey == nil {
			faults = append(faults, fmt.Errorf("option Config.Certificates[%d]: a certificate and its private key are needed", i))
		}
	}
	for i, p := range c.NextProtos {
		if len(p) == 0 || len(p) > 255 {
			faults = append(faults, fmt.Errorf("option Config.NextProtos[%d] %q: allowed are 1 to 255 bytes", i, p))
		}
	}
	return faults
}

func versionFaults(c *tls.Config) (faults []error) {
	for _, f := range []struct {
		name  string
		value uint16
	}{{"MinVersion", c.MinVersion}, {"MaxVersion", c.MaxVersion}} {
		if v := f.value; v != 0 && (v < tls.VersionTLS10 || v > tls.VersionTLS13) {
			faults = append(faults, fmt.Errorf("option Config.%s %#04x: allowed are 0 (crypto/tls decides) and TLS 1.0 to TLS 1.3 (%#04x to %#04x)",
				f.name, v, tls.VersionTLS10, tls.VersionTLS13))
		}
	}
	least := c.MinVersion
	if least == 0 {
		least = tls.VersionTLS12
	}
	if len(faults) == 0 && c.MaxVersion != 0 && c.MaxVersion < least {
		faults = append(faults, fmt.Errorf("option Config.MaxVersion %s: allowed are 0 and MinVersion (%s) or later",
			tls.VersionName(c.MaxVersion), tls.VersionName(least)))
	}
	return faults
}

// clientAuthFaults knows that crypto/tls takes the system's roots when there are no
// ClientCAs: whoever has bought a certificate anywhere would be a client.
func clientAuthFaults(c *tls.Config) []error {
	switch {
	case c.ClientAuth < tls.NoClientCert || c.ClientAuth > tls.RequireAndVerifyClientCert:
		return []error{fmt.Errorf("option Config.ClientAuth %d: allowed are %d (%v) to %d (%v)", c.ClientAuth,
			tls.NoClientCert, tls.NoClientCert, tls.RequireAndVerifyClientCert, tls.RequireAndVerifyClientCert)}
	case c.ClientAuth >= tls.VerifyClientCertIfGiven && c.ClientCAs == nil && c.GetConfigForClient == nil:
		return []error{fmt.Errorf("option Config.ClientAuth %v: ClientCAs is needed: who may sign clients' certificates; x509.SystemCertPool() if anybody may", c.ClientAuth)}
	}
	return nil
}

func suiteFaults(c *tls.Config) (faults []error) {
	usable := false
	known := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	for i, id := range c.CipherSuites {
		j := slices.IndexFunc(known, func(s *tls.CipherSuite) bool { return s.ID == id })
		if j < 0 {
			faults = append(faults, fmt.Errorf("option Config.CipherSuites[%d] %#04x: allowed are those of tls.CipherSuites and tls.InsecureCipherSuites", i, id))
			continue
		}
		usable = usable || slices.Contains(known[j].SupportedVersions, tls.VersionTLS12)
	}
	if len(faults) == 0 && c.CipherSuites != nil && !usable && c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13 {
		faults = append(faults, fmt.Errorf("option Config.CipherSuites: none of the %d is good for %s: nil for all, or suites of TLS 1.2; those of TLS 1.3 cannot be chosen",
			len(c.CipherSuites), tls.VersionName(c.MaxVersion)))
	}
	return faults
}
