package main

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"goranch/internal/listenaddr"
	"goranch/internal/settings"
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

// shellAccess reads the settings of access to a shell.
func (c *config) shellAccess(all *faults, f *flags) shellAccess {
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
		addRuleFaults(all, err)
	}
	if len(certs.Viewers)+len(certs.Operators) > 0 {
		if a.Certificates, err = access.Certificates(certs); err != nil {
			addRuleFaults(all, err)
		}
		if len(f.ClientCA) == 0 {
			all.add("--viewer, --operator: rules for certificates require --client-ca")
		}
	}
	if f.Tokens != "" {
		a.Tokens = c.tokens(all, f)
	} else if f.PlainTokens {
		all.add("--plain-tokens: allowed only with --tokens")
	}
	return a
}

var ruleOption = regexp.MustCompile(`^option (Viewer|Operator)s\[\d+\]`)

// addRuleFaults adds the faults of the rules for clients, with the names of the flags instead of
// those of the options.
func addRuleFaults(all *faults, err error) {
	for _, fault := range faultsOf(err) {
		all.add("%s", ruleOption.ReplaceAllStringFunc(fault.Error(), func(option string) string {
			return "--" + strings.ToLower(ruleOption.FindStringSubmatch(option)[1])
		}))
	}
}

// tokens opens the token file of a shell. Shells with the same file share it.
func (c *config) tokens(all *faults, f *flags) *access.Tokens {
	if t := c.files.tokens[f.Tokens]; t != nil {
		return t
	}
	if settings.IsToken(f.Tokens) {
		all.add("--tokens %s: allowed are names of files, not tokens", settings.Quote(f.Tokens))
		return nil
	}
	interval := orNoTimeout(read(all, "--reload-interval", f.ReloadInterval, positive))
	t, err := access.OpenTokens(access.TokenOptions{File: f.Tokens, Interval: interval, Notify: func(err error) { c.OnTokenReload(err) }})
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			all.add("--tokens %s", strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "tokens "))
		}
		return nil
	}
	if c.files.tokens == nil {
		c.files.tokens = map[string]*access.Tokens{}
	}
	c.files.tokens[f.Tokens] = t
	return t
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

// unixMode returns the mode of the operators' socket. If others than its owner have access, the
// kernel identifies them.
func (a shellAccess) unixMode() fs.FileMode {
	if a.Tokens != nil || a.HasPeerRules {
		return 0o666
	}
	return 0o600
}

// privateSocket returns the path of a socket in a new directory of this user.
func privateSocket() (listenaddr.Addr, error) {
	dir, err := os.MkdirTemp("", "ranchd-") // mode 0700
	return listenaddr.Addr{Network: "unix", Address: filepath.Join(dir, "ranchd.sock")}, err
}

// checkShellAccess reports a shell that unauthenticated clients of other hosts could use.
func (l *listenerConfig) checkShellAccess(all *faults) {
	if l.Service != shellService && !l.Service.isOperators() {
		return
	}
	o := access.Listen{
		Secure: l.TLS, Proxied: l.Proxies.any() && !l.Service.isOperators(), Tokens: l.Access.Tokens != nil,
		Certificates: l.TLS && l.Access.Certificates != nil, PlainTokens: l.Access.PlainTokens,
	}
	if err := access.CheckListen(l.Addr.Network, l.Addr.Address, o); err != nil {
		if l.Service.isOperators() && l.scope.table == nil {
			all.add("--%s %q: %w", l.Service, endpoint{TLS: l.TLS, Addr: l.Addr}, err)
		} else {
			all.add("--listen %q: %w", l.endpoint, err)
		}
	}
}

// checkSessionIDs reports a public shell with predictable session ids that other hosts can reach.
func (l *listenerConfig) checkSessionIDs(all *faults) {
	if l.Shell.NewID == nil || l.scope.AllowPredictableIDs {
		return
	}
	if access.CheckListen(l.Addr.Network, l.Addr.Address, access.Listen{Proxied: l.Proxies.any()}) != nil {
		all.add("--session-ids djb: a client that knows the address of another can take over its session, and other hosts can reach %q; allowed only with --allow-predictable-ids", l.endpoint)
	}
}
