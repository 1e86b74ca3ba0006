package transport

import (
	"crypto/tls"
	"fmt"
	"slices"

	"goranch/internal/option"
)

// Validate reports all faults of the options, those of TCP included: settings of Config with which
// handshakes could only fail, or with which crypto/tls would accept client certificates of any CA.
func (t TLS) Validate() error {
	var f option.Faults
	t.TCP.check(&f)
	if c := t.Config; c != nil {
		checkVersions(&f, c)
		checkClientAuth(&f, c)
		checkSuites(&f, c)
		checkLists(&f, c)
	}
	return f.Err()
}

func checkLists(f *option.Faults, c *tls.Config) {
	for i, cert := range c.Certificates {
		if len(cert.Certificate) == 0 || cert.PrivateKey == nil {
			f.Add(fmt.Errorf("option Config.Certificates[%d]: a certificate and its private key are required", i))
		}
	}
	for i, p := range c.NextProtos {
		if len(p) == 0 || len(p) > 255 {
			f.Bad(fmt.Sprintf("Config.NextProtos[%d]", i), fmt.Sprintf("%q", p), "1 to 255 bytes")
		}
	}
}

func checkVersions(f *option.Faults, c *tls.Config) {
	known := true
	check := func(field string, v uint16) {
		if v != 0 && (v < tls.VersionTLS10 || v > tls.VersionTLS13) {
			known = false
			f.Bad(field, fmt.Sprintf("%#04x", v), fmt.Sprintf("TLS 1.0 to TLS 1.3 (%#04x to %#04x), and 0 for the default of crypto/tls", tls.VersionTLS10, tls.VersionTLS13))
		}
	}
	check("Config.MinVersion", c.MinVersion)
	check("Config.MaxVersion", c.MaxVersion)
	least := c.MinVersion
	option.Default(&least, tls.VersionTLS12)
	if known && c.MaxVersion != 0 && c.MaxVersion < least {
		f.Bad("Config.MaxVersion", tls.VersionName(c.MaxVersion), fmt.Sprintf("MinVersion (%s) and later, and 0 for the default of crypto/tls", tls.VersionName(least)))
	}
}

// checkClientAuth requires ClientCAs: without them crypto/tls uses the roots of the system, and
// accepts the certificates of all public CAs.
func checkClientAuth(f *option.Faults, c *tls.Config) {
	switch {
	case c.ClientAuth < tls.NoClientCert || c.ClientAuth > tls.RequireAndVerifyClientCert:
		f.Bad("Config.ClientAuth", int(c.ClientAuth), fmt.Sprintf("%d (%v) to %d (%v)",
			tls.NoClientCert, tls.NoClientCert, tls.RequireAndVerifyClientCert, tls.RequireAndVerifyClientCert))
	case c.ClientAuth >= tls.VerifyClientCertIfGiven && c.ClientCAs == nil && c.GetConfigForClient == nil:
		f.Add(fmt.Errorf("option Config.ClientAuth %v: ClientCAs is required: the CAs that may sign client certificates, or x509.SystemCertPool() for all public CAs", c.ClientAuth))
	}
}

func checkSuites(f *option.Faults, c *tls.Config) {
	known, usable := true, false
	all := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	for i, id := range c.CipherSuites {
		j := slices.IndexFunc(all, func(s *tls.CipherSuite) bool { return s.ID == id })
		if j < 0 {
			known = false
			f.Bad(fmt.Sprintf("Config.CipherSuites[%d]", i), fmt.Sprintf("%#04x", id), "those of tls.CipherSuites and tls.InsecureCipherSuites")
			continue
		}
		usable = usable || slices.Contains(all[j].SupportedVersions, tls.VersionTLS12)
	}
	if known && c.CipherSuites != nil && !usable && c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13 {
		f.Add(fmt.Errorf("option Config.CipherSuites: none of the %d suites is for %s: allowed are suites of TLS 1.2, and nil for all; the suites of TLS 1.3 cannot be configured",
			len(c.CipherSuites), tls.VersionName(c.MaxVersion)))
	}
}
