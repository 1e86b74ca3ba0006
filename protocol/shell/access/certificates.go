package access

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"goranch/protocol/shell"
	"goranch/transport"
)

// CertificateOptions say what the holders of certificates may do.
type CertificateOptions struct {
	// Viewers and Operators are what their certificates say:
	//
	//	cn:alice                        the subject's common name
	//	dns:ops.example.org             an alternative name; case does not matter
	//	uri:spiffe://example.org/ops    an alternative name, as for SPIFFE
	//	email:alice@example.org         an alternative name
	//	ip:192.0.2.1                    an alternative name; not where the client connects from
	//	sha256:64 hexadecimal digits    the certificate itself; colons between them are skipped
	//	any                             each certificate that was verified
	//
	// They are compared whole: there are no patterns, and "*" in a certificate is just a
	// character. Whom several of them fit has the greatest of the roles.
	Viewers, Operators []string
	// AdmitOthers makes Guests of holders of other certificates, who may present a token,
	// instead of refusing them.
	AdmitOthers bool
}

// Certificates returns an Authenticator for TLS clients with a certificate. Only a certificate
// counts that was verified against the ClientCAs of the server's TLS configuration; whoever
// those have signed can be any of the names in it, so let them be CAs of your own and not the public ones. Without one, the
// error is ErrNotApplicable. It asks when the connection is made: a certificate that expires later
// ends nothing.
//
// The error of Certificates names every rule that cannot be used, and wraps ErrBadOption.
func Certificates(o CertificateOptions) (Authenticator, error) {
	c := &holders{admitOthers: o.AdmitOthers}
	var f faults
	c.addAll(&f, "Viewers", o.Viewers, shell.Viewer)
	c.addAll(&f, "Operators", o.Operators, shell.Operator)
	if f != nil {
		return nil, errors.Join(f...)
	}
	return c.authenticate, nil
}

// holders is the configuration, taken apart.
type holders struct {
	rules       []rule
	admitOthers bool
}

type rule struct {
	kind, value string
	role        shell.Role
}

func (c *holders) addAll(f *faults, field string, list []string, role shell.Role) {
	for i, s := range list {
		r, err := parseRule(s)
		if err != nil {
			f.add("%s[%d] %q: %v", field, i, s, err)
			continue
		}
		r.role = role
		c.rules = append(c.rules, r)
	}
}

func parseRule(s string) (rule, error) {
	kind, value, _ := strings.Cut(s, ":")
	r := rule{kind: kind, value: value}
	if s == "any" {
		return r, nil
	}
	switch kind {
	case "cn", "uri", "email":
	case "dns":
		r.value = strings.ToLower(value)
	case "ip":
		ip, err := netip.ParseAddr(value)
		if err != nil || ip.Zone() != "" {
			return r, errors.New("an IP address must follow \"ip:\"")
		}
		r.value = ip.Unmap().String()
	case "sha256":
		r.value = strings.ToLower(strings.ReplaceAll(value, ":", ""))
		if b, err := hex.DecodeString(r.value); err != nil || len(b) != 32 {
			return r, errors.New("64 hexadecimal digits must follow \"sha256:\"")
		}
	default:
		return r, errors.New("use \"cn:\", \"dns:\", \"uri:\", \"email:\", \"ip:\" or \"sha256:\" and a value, or \"any\"")
	}
	if r.value == "" {
		return r, fmt.Errorf("a value must follow \"%s:\"", kind)
	}
	return r, nil
}

func (c *holders) authenticate(_ context.Context, conn *transport.Conn) (shell.User, error) {
	id := conn.Identity()
	if id == nil {
		return shell.User{}, fmt.Errorf("%w: the client has shown no certificate that could be verified", ErrNotApplicable)
	}
	return c.user(id)
}

func (c *holders) user(id *transport.Identity) (shell.User, error) {
	who := shell.User{Name: holderName(id)}
	for _, r := range c.rules {
		if r.role > who.Role && r.fits(id) {
			who.Role = r.role
		}
	}
	if who.Role == shell.Guest && !c.admitOthers {
		return shell.User{}, fmt.Errorf("%w: %s may neither look nor change", ErrDenied, who.Name)
	}
	return who, nil
}

func (r *rule) fits(id *transport.Identity) bool {
	switch r.kind {
	case "any":
		return true
	case "cn":
		return id.CommonName == r.value
	case "dns":
		return slices.ContainsFunc(id.DNSNames, func(s string) bool { return strings.ToLower(s) == r.value })
	case "uri":
		return slices.Contains(id.URIs, r.value)
	case "email":
		return slices.Contains(id.Emails, r.value)
	case "ip":
		return slices.ContainsFunc(id.IPs, func(a netip.Addr) bool { return a.String() == r.value })
	case "sha256":
		return id.Fingerprint == r.value
	}
	return false
}

// holderName is what the certificate calls its holder, for the audit log, and which certificate
// it is if that is all there is to say.
func holderName(id *transport.Identity) string {
	switch {
	case id.CommonName != "":
		return "CN=" + printable(id.CommonName)
	case len(id.URIs) > 0:
		return "URI=" + printable(id.URIs[0])
	case len(id.Emails) > 0:
		return "email=" + printable(id.Emails[0])
	case len(id.DNSNames) > 0:
		return "DNS=" + printable(id.DNSNames[0])
	case len(id.IPs) > 0:
		return "IP=" + id.IPs[0].String()
	}
	return "sha256=" + id.Fingerprint
}
