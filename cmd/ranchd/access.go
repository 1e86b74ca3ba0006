package main

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"goranch/internal/console"
	"goranch/internal/listenaddr"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/transport"
)

// shellAccess configures the authentication of both shells.
type shellAccess struct {
	Tokens       *access.Tokens // nil without --tokens
	Peer         access.Authenticator
	Certificates access.Authenticator // nil if no rule is for certificates
	PlainTokens  bool
	HasPeerRules bool // a rule is for users of Unix sockets
}

// certificateRules are the prefixes of rules for certificates.
var certificateRules = []string{"cn:", "dns:", "uri:", "email:", "ip:", "sha256:"}

// shellAccess reads the flags of access to the shells. onReload is called after the token file has
// changed.
func (f *flags) shellAccess(all *faults, interval time.Duration, onReload func(error)) shellAccess {
	var peers, certs access.Rules
	split := func(rules []string, toPeers, toCerts *[]string) {
		for _, r := range rules {
			if isCertificateRule(r) {
				*toCerts = append(*toCerts, r)
			} else {
				*toPeers = append(*toPeers, r)
			}
		}
	}
	split(f.Viewer, &peers.Viewers, &certs.Viewers)
	split(f.Operator, &peers.Operators, &certs.Operators)
	peers.AdmitOthers, certs.AdmitOthers = f.Tokens != "", f.Tokens != ""
	a := shellAccess{PlainTokens: f.PlainTokens, HasPeerRules: len(peers.Viewers)+len(peers.Operators) > 0}
	var err error
	if a.Peer, err = access.Peer(peers); err != nil {
		all.add("--viewer, --operator: %w", err)
	}
	if len(certs.Viewers)+len(certs.Operators) > 0 {
		if a.Certificates, err = access.Certificates(certs); err != nil {
			all.add("--viewer, --operator: %w", err)
		}
		if len(f.ClientCA) == 0 {
			all.add("--viewer, --operator: rules for certificates require --client-ca")
		}
	}
	if f.Tokens != "" {
		if a.Tokens, err = access.OpenTokens(access.TokenOptions{File: f.Tokens, Interval: interval, Notify: onReload}); err != nil {
			all.add("--tokens: %w", err)
		}
	} else if f.PlainTokens {
		all.add("--plain-tokens: allowed only with --tokens")
	}
	return a
}

func isCertificateRule(rule string) bool {
	for _, r := range certificateRules {
		if strings.HasPrefix(rule, r) {
			return true
		}
	}
	return rule == "any"
}

// operatorAuth returns the authentication of the operators' shell. A client that neither the kernel
// nor a certificate identifies is a guest if there are tokens; otherwise it is a viewer, and
// checkShellAccess makes sure that it is local.
func (a shellAccess) operatorAuth() access.Authenticator {
	if a.Tokens != nil {
		return a.or(access.Anyone(shell.Guest))
	}
	return a.or(access.Anyone(shell.Viewer))
}

// publicAuth returns the authentication of the public shell, where unidentified local clients are
// viewers.
func (a shellAccess) publicAuth() access.Authenticator {
	viewer, guest := access.Anyone(shell.Viewer), access.Anyone(shell.Guest)
	return a.or(func(ctx context.Context, conn *transport.Conn) (shell.User, error) {
		if a.Tokens != nil && (conn.Proxy() != nil || !isLocal(conn.LocalAddr())) {
			return guest(ctx, conn)
		}
		return viewer(ctx, conn)
	})
}

// isLocal reports whether only local clients can connect to an address.
func isLocal(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}

// or returns the authentication by peer and certificate, and by last for other clients.
func (a shellAccess) or(last access.Authenticator) access.Authenticator {
	list := []access.Authenticator{a.Peer}
	if a.Certificates != nil {
		list = append(list, a.Certificates)
	}
	return access.Combine(append(list, last)...)
}

func (a shellAccess) tokenAuth() func(context.Context, *transport.Conn, string) (shell.User, error) {
	if a.Tokens == nil {
		return nil
	}
	return a.Tokens.Token
}

// unixMode returns the mode of the operators' socket. If others than its owner have access, the
// kernel identifies them.
func (a shellAccess) unixMode() fs.FileMode {
	if a.Tokens != nil || a.HasPeerRules {
		return 0o666
	}
	return 0o600
}

// adminEndpoint returns the endpoint of the operators' shell. ok is false if there is none.
func (f *flags) adminEndpoint(all *faults) (e endpoint, ok bool) {
	isDefault := false
	switch f.Admin {
	case "none":
		return endpoint{}, false
	case "auto":
		f.Admin = console.AdminSocket()
		isDefault = true
	}
	e = read(all, "--admin", f.Admin, parseEndpoint)
	if e.Service != echoService {
		all.add("--admin %q: allowed are addresses without a protocol", f.Admin)
	}
	e.Service, e.Default = adminService, isDefault
	if e.Name == "" {
		e.Name = "admin"
	}
	return e, true
}

// privateSocket returns the path of a socket in a new directory of this user.
func privateSocket() (listenaddr.Addr, error) {
	dir, err := os.MkdirTemp("", "ranchd-") // mode 0700
	return listenaddr.Addr{Network: "unix", Address: filepath.Join(dir, "ranchd.sock")}, err
}

// checkShellAccess reports shells that unauthenticated clients of other hosts could use.
func (c *config) checkShellAccess(all *faults) {
	for _, e := range c.Endpoints {
		if e.Service != shellService && !e.Service.isOperators() {
			continue
		}
		l := access.Listen{
			Secure: e.TLS, Proxied: c.Proxies.any() && !e.Service.isOperators(), Tokens: c.Access.Tokens != nil,
			Certificates: e.TLS && c.Access.Certificates != nil, PlainTokens: c.Access.PlainTokens,
		}
		if err := access.CheckListen(e.Addr.Network, e.Addr.Address, l); err != nil {
			if e.Service.isOperators() {
				all.add("--%s %q: %w", e.Service, endpoint{TLS: e.TLS, Addr: e.Addr}, err)
			} else {
				all.add("--listen %q: %w", e, err)
			}
		}
	}
}

// checkSessionIDs reports public shells with predictable session ids that other hosts can reach.
func (c *config) checkSessionIDs(all *faults, allowed bool) {
	if c.Shell.NewID == nil || allowed {
		return
	}
	for _, e := range c.Endpoints {
		if e.Service == shellService && access.CheckListen(e.Addr.Network, e.Addr.Address, access.Listen{Proxied: c.Proxies.any()}) != nil {
			all.add("--session-ids djb: a client that knows the address of another can take over its session, and other hosts can reach %q; allowed only with --allow-predictable-ids", e)
		}
	}
}
