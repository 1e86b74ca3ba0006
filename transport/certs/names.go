package certs

import (
	"crypto/tls"
	"fmt"
	"strings"

	"goranch/internal/hostname"
	"goranch/transport"
)

// get implements tls.Config.GetCertificate.
func (s *set) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	list := s.lookup(hello.ServerName)
	if len(list) == 0 {
		return s.certs[0].cert, nil
	}
	for _, c := range list {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return list[0], nil
}

// lookup returns the certificates for a host; nil if there are none.
func (s *set) lookup(host string) []*tls.Certificate {
	host, ok := hostName(host)
	if !ok {
		return nil
	}
	if list := s.names[host]; list != nil {
		return list
	}
	_, parent, ok := strings.Cut(host, ".")
	if !ok {
		return nil
	}
	return s.names["*."+parent]
}

// pattern returns a name of a certificate in the form in which hosts are looked up: in lower case,
// with "*" only as the complete first label.
func pattern(name string) (string, bool) {
	if parent, ok := strings.CutPrefix(name, "*."); ok {
		parent, ok = hostName(parent)
		return "*." + parent, ok
	}
	return hostName(name)
}

// hostName returns a host in lower case without the dot of an absolute name, and whether it is
// valid.
func hostName(host string) (string, bool) {
	b, ok := hostname.Append(make([]byte, 0, min(len(host), hostname.Max)), strings.TrimSuffix(host, "."))
	return string(b), ok
}

func unknownHost(host string) error {
	if host == "" {
		return fmt.Errorf("the client requests no host: %w", transport.ErrUnknownHost)
	}
	return fmt.Errorf("no certificate for host %q: %w", host, transport.ErrUnknownHost)
}
