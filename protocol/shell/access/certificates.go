package access

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"goranch/internal/option"
	"goranch/internal/termtext"
	"goranch/protocol/shell"
	"goranch/transport"
)

// Certificates returns an Authenticator for TLS clients with a certificate. The rules are:
//
//	cn:alice                       subject common name
//	dns:ops.example.org            alternative name, case-insensitive
//	uri:spiffe://example.org/ops   alternative name; email: and ip: likewise
//	sha256:64 hexadecimal digits   fingerprint of the certificate; colons are ignored
//	any                            every verified certificate
//
// Values are compared as a whole; there are no patterns. The error of Certificates names every
// invalid rule. For certificates not verified against the ClientCAs of the server's TLS
// configuration the Authenticator returns ErrNotApplicable. Those CAs can issue any name, so use
// private CAs. A certificate that expires does not end a connection.
func Certificates(r Rules) (Authenticator, error) {
	c := &certificateRules{admitOthers: r.AdmitOthers}
	var f option.Faults
	c.add(&f, "Viewers", r.Viewers, shell.Viewer)
	c.add(&f, "Operators", r.Operators, shell.Operator)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return c.authenticate, nil
}

// certificateRules are parsed Rules.
type certificateRules struct {
	rules       []certificateRule
	admitOthers bool
}

type certificateRule struct {
	kind, value string
	role        shell.Role
}

func (c *certificateRules) add(f *option.Faults, field string, list []string, role shell.Role) {
	for i, s := range list {
		r, err := parseRule(s)
		if err != nil {
			f.Add(fmt.Errorf("option %s[%d] %q: %w", field, i, s, err))
			continue
		}
		r.role = role
		c.rules = append(c.rules, r)
	}
}

func parseRule(s string) (certificateRule, error) {
	kind, value, _ := strings.Cut(s, ":")
	r := certificateRule{kind: kind, value: value}
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
			return r, errors.New("\"ip:\" must be followed by an IP address without a zone")
		}
		r.value = ip.Unmap().String()
	case "sha256":
		r.value = strings.ToLower(strings.ReplaceAll(value, ":", ""))
		if b, err := hex.DecodeString(r.value); err != nil || len(b) != 32 {
			return r, errors.New("\"sha256:\" must be followed by 64 hexadecimal digits")
		}
	default:
		return r, errors.New("allowed are \"cn:\", \"dns:\", \"uri:\", \"email:\", \"ip:\" or \"sha256:\" with a value, and \"any\"")
	}
	if r.value == "" {
		return r, fmt.Errorf("\"%s:\" must be followed by a value", kind)
	}
	return r, nil
}

func (c *certificateRules) authenticate(_ context.Context, conn *transport.Conn) (shell.User, error) {
	state, _ := conn.TLS()
	id := transport.IdentityOf(state)
	if id == nil {
		return shell.User{}, fmt.Errorf("%w: the client has no verified certificate", ErrNotApplicable)
	}
	user := shell.User{Name: certificateName(id)}
	for _, r := range c.rules {
		if r.role > user.Role && r.matches(id) {
			user.Role = r.role
		}
	}
	return withRole(user, c.admitOthers)
}

func (r *certificateRule) matches(id *transport.Identity) bool {
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

// certificateName returns the first name in the certificate, for the audit log, or its fingerprint
// if it has no name.
func certificateName(id *transport.Identity) string {
	switch {
	case id.CommonName != "":
		return "CN=" + termtext.Line(id.CommonName)
	case len(id.URIs) > 0:
		return "URI=" + termtext.Line(id.URIs[0])
	case len(id.Emails) > 0:
		return "email=" + termtext.Line(id.Emails[0])
	case len(id.DNSNames) > 0:
		return "DNS=" + termtext.Line(id.DNSNames[0])
	case len(id.IPs) > 0:
		return "IP=" + id.IPs[0].String()
	}
	return "sha256=" + id.Fingerprint
}
