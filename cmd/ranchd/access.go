package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"goranch/internal/console"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/transport"
)

// shellAccess is who may use the shells.
type shellAccess struct {
	Tokens       *access.Tokens // nil: none
	Peer         access.Authenticator
	Certificates access.Authenticator // nil: certificates say nothing of roles
	PlainTokens  bool
	Others       bool // users are named
}

// certificateRules are how names begin that are those of certificates.
var certificateRules = []string{"cn:", "dns:", "uri:", "email:", "ip:", "sha256:"}

// access reads who may use the shells.
func (f *flags) access(bad *faults) shellAccess {
	var peers, certs access.Rules
	sort := func(names []string, toPeers, toCerts *[]string) {
		for _, n := range names {
			if isCertificateRule(n) {
				*toCerts = append(*toCerts, n)
			} else {
				*toPeers = append(*toPeers, n)
			}
		}
	}
	sort(f.Viewer, &peers.Viewers, &certs.Viewers)
	sort(f.Operator, &peers.Operators, &certs.Operators)
	peers.AdmitOthers, certs.AdmitOthers = f.Tokens != "", f.Tokens != ""
	a := shellAccess{PlainTokens: f.PlainTokens, Others: len(peers.Viewers)+len(peers.Operators) > 0}
	var err error
	if a.Peer, err = access.Peer(peers); err != nil {
		*bad = append(*bad, fmt.Errorf("--viewer, --operator: %w", err))
	}
	if len(certs.Viewers)+len(certs.Operators) > 0 {
		if a.Certificates, err = access.Certificates(certs); err != nil {
			*bad = append(*bad, fmt.Errorf("--viewer, --operator: %w", err))
		}
		if len(f.ClientCA) == 0 {
			*bad = append(*bad, errors.New("--viewer, --operator: names of certificates need --client-ca, which says who signs them"))
		}
	}
	if f.Tokens != "" {
		if a.Tokens, err = access.OpenTokens(access.TokenOptions{File: f.Tokens}); err != nil {
			*bad = append(*bad, fmt.Errorf("--tokens: %w", err))
		}
	} else if f.PlainTokens {
		*bad = append(*bad, errors.New("--plain-tokens: allowed is it only with --tokens"))
	}
	return a
}

func isCertificateRule(name string) bool {
	for _, r := range certificateRules {
		if strings.HasPrefix(name, r) {
			return true
		}
	}
	return name == "any"
}

// listen is what the endpoint asks of clients of a shell.
func (a shellAccess) listen(e endpoint, c *config) access.Listen {
	return access.Listen{
		Secure: e.TLS, Proxied: c.Proxies.any() && e.Service != adminService, Tokens: a.Tokens != nil,
		Certificates: e.TLS && a.Certificates != nil, PlainTokens: a.PlainTokens,
	}
}

// operators says who a client of the operators' shell is: whom the kernel or a certificate vouches for,
// else a guest, if there are tokens, else a viewer, who can only be somebody on this machine.
func (a shellAccess) operators() access.Authenticator {
	others := shell.Viewer
	if a.Tokens != nil {
		others = shell.Guest
	}
	return a.orElse(access.Anyone(others))
}

// anybody says who a client of the shell for everybody is: on this machine a viewer at least.
func (a shellAccess) anybody() access.Authenticator {
	viewer, guest := access.Anyone(shell.Viewer), access.Anyone(shell.Guest)
	return a.orElse(func(ctx context.Context, conn *transport.Conn) (shell.User, error) {
		if a.Tokens != nil && (conn.Proxy() != nil || !isLocal(conn.LocalAddr())) {
			return guest(ctx, conn)
		}
		return viewer(ctx, conn)
	})
}

func isLocal(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}

func (a shellAccess) orElse(last access.Authenticator) access.Authenticator {
	list := []access.Authenticator{a.Peer}
	if a.Certificates != nil {
		list = append(list, a.Certificates)
	}
	return access.Combine(append(list, last)...)
}

func (a shellAccess) token() func(context.Context, *transport.Conn, string) (shell.User, error) {
	if a.Tokens == nil {
		return nil
	}
	return a.Tokens.Token
}

// unixMode is that of the operators' socket. Where others than its owner are let in, the kernel says who they are.
func (a shellAccess) unixMode() fs.FileMode {
	if a.Tokens != nil || a.Others {
		return 0o666
	}
	return 0o600
}

// admin reads where the operators' shell is to be.
func (f *flags) admin(bad *faults) (e endpoint, ok bool) {
	switch f.Admin {
	case "none":
		return endpoint{}, false
	case "auto":
		f.Admin = console.AdminSocket()
	}
	e = read(bad, "--admin", f.Admin, parseEndpoint)
	if e.Service != echoService {
		*bad = append(*bad, fmt.Errorf("--admin %q: allowed is an address without a protocol before it", f.Admin))
	}
	e.Service = adminService
	if e.Name == "" {
		e.Name = "admin"
	}
	return e, true
}

// shellConfig is what the shell for everybody offers.
type shellConfig struct {
	Root     string
	Programs []shell.Program
	NewID    func(net.Addr) (string, error) // nil: unguessable ones
}

func (f *flags) shell(bad *faults) shellConfig {
	c := shellConfig{Root: f.ShellRoot}
	if c.Root == "none" {
		c.Root = ""
	} else if i, err := os.Stat(c.Root); err != nil || !i.IsDir() {
		*bad = append(*bad, fmt.Errorf("--shell-root %q: it is no directory: allowed are directories, and none", f.ShellRoot))
	}
	for _, s := range f.Program {
		c.Programs = append(c.Programs, read(bad, "--program", s, parseProgram))
	}
	if read(bad, "--session-ids", f.SessionIDs, oneOf("random and djb", map[string]bool{"random": false, "djb": true})) {
		c.NewID = session.DJBID
	}
	return c
}

// guessable reports ids that can be guessed where strangers can try.
func (c *config) guessable(bad *faults, accepted bool) {
	if c.Shell.NewID == nil || accepted {
		return
	}
	for _, e := range c.Endpoints {
		if e.Service == shellService && access.CheckListen(e.Addr.Network, e.Addr.Address, access.Listen{Proxied: c.Proxies.any()}) != nil {
			*bad = append(*bad, fmt.Errorf("--session-ids djb: whoever knows a client's address can take over its session, and %q can be reached from other machines: allowed is that only with --accept-guessable-ids", e))
		}
	}
}

// parseProgram reads "NAME=PATH [ARG...] [*]".
func parseProgram(s string) (p shell.Program, err error) {
	name, line, ok := strings.Cut(s, "=")
	words := strings.Fields(line)
	if !ok || len(words) == 0 {
		return p, errors.New("allowed is NAME=PATH, with arguments behind it, and * if clients may add some")
	}
	p = shell.Program{Name: name, Path: words[0], Args: words[1:], Role: shell.Viewer}
	if n := len(p.Args); n > 0 && p.Args[n-1] == "*" {
		p.Args, p.Allow = p.Args[:n-1], shell.NoFlags
	}
	if !filepath.IsAbs(p.Path) {
		return p, fmt.Errorf("%q is no absolute path", p.Path)
	}
	if _, err := exec.LookPath(p.Path); err != nil {
		return p, err
	}
	return p, nil
}

// sessionConfig is how long sessions are kept, and where.
type sessionConfig struct {
	TTL time.Duration
	Max int
	Dir string // "": in memory only
}

func (f *flags) sessions(bad *faults) sessionConfig {
	c := sessionConfig{
		TTL: never(read(bad, "--session-ttl", f.SessionTTL, positive)),
		Max: read(bad, "--max-sessions", f.MaxSessions, orUnlimitedSessions),
		Dir: cmp.Or(f.State, os.Getenv("STATE_DIRECTORY")),
	}
	if c.Dir == "" {
		return c
	}
	if i, err := os.Stat(c.Dir); err != nil || !i.IsDir() {
		*bad = append(*bad, fmt.Errorf("--state %q: it is no directory: make one that only ranchd can read", c.Dir))
	}
	return c
}

// orUnlimitedSessions translates to the word of package session.
func orUnlimitedSessions(s string) (int, error) {
	if s == "unlimited" {
		return -1, nil
	}
	return orUnlimited(s)
}
