package natsengine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// TLS returns a configuration for Options.TLS with the certificate and CA certificates in files,
// PEM. cert and key, or ca, may be "". The certificate is read again when one of its files has
// changed. As a server, peers must present a certificate that ca has signed. The errors begin with
// cert, key or ca.
func TLS(cert, key, ca string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var errs []error
	if ca != "" {
		pem, err := os.ReadFile(ca)
		pool := x509.NewCertPool()
		if err == nil && !pool.AppendCertsFromPEM(pem) {
			err = errors.New("the file contains no certificate in PEM")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("ca %q: %w", ca, err))
		}
		c.RootCAs, c.ClientCAs, c.ClientAuth = pool, pool, tls.RequireAndVerifyClientCert
	}
	if cert != "" {
		p := &pair{cert: cert, key: key}
		if _, err := p.get(); err != nil {
			errs = append(errs, fmt.Errorf("cert %q, key %q: %w", cert, key, err))
		}
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.get() }
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.get() }
	}
	return c, errors.Join(errs...)
}

// pair is a certificate in files.
type pair struct {
	cert, key string

	mu      sync.Mutex
	current *tls.Certificate
	changed [2]time.Time // of the files of current
}

// get returns the certificate. If the files have changed and cannot be used, it is the one before.
func (p *pair) get() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var changed [2]time.Time
	for i, name := range []string{p.cert, p.key} {
		if info, err := os.Stat(name); err == nil {
			changed[i] = info.ModTime()
		}
	}
	if p.current != nil && changed == p.changed {
		return p.current, nil
	}
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		if p.current != nil {
			return p.current, nil
		}
		return nil, err
	}
	p.current, p.changed = &c, changed
	return p.current, nil
}
