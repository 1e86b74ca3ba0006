package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"goranch/internal/listenaddr"
	"goranch/ranch"
)

// banner says what is served where, how to try it, and how to end it.
func (d *daemon) banner(w io.Writer) {
	var b strings.Builder
	b.WriteString("ranchd serves\n\n")
	for i, l := range d.listeners {
		e := d.Endpoints[i]
		fmt.Fprintf(&b, "  %s: %s on %s\n", e.Name, e.Service, e.bound(l.Addr()))
		fmt.Fprintf(&b, "      %s\n", try(e, l.Addr()))
	}
	b.WriteString("\n")
	if d.certificate != nil {
		fmt.Fprintf(&b, "TLS has a self-signed certificate, for trying out only. Its SHA-256 fingerprint:\n  %s\n", fingerprint(*d.certificate))
	}
	more := ""
	if d.AnyCap && d.topics != nil {
		more = fmt.Sprintf(", of topics %d", topicsConnections)
	}
	fmt.Fprintf(&b, "Connections at once on each: %s%s. Stop with Ctrl-C.\n", limitText(d.Options.MaxConnections), more)
	io.WriteString(w, b.String())
}

// bound returns where an endpoint is, now that the system has chosen what it was left to.
func (e endpoint) bound(a net.Addr) endpoint {
	return endpoint{TLS: e.TLS, Addr: listenaddr.Addr{Network: a.Network(), Address: a.String()}}
}

// try returns a line for the shell that talks to an endpoint bound to a.
func try(e endpoint, a net.Addr) string {
	line := tryEcho(e, a)
	switch e.Service {
	case adminService:
		return "ranchctl --connect " + quote(e.bound(a).String())
	case webService:
		scheme := "http"
		if e.TLS {
			scheme = "https"
		}
		if _, ok := a.(*net.UnixAddr); ok {
			return "curl --unix-socket " + quote(a.String()) + " " + scheme + "://localhost/"
		}
		host, port := reachable(a)
		return "a browser at " + scheme + "://" + net.JoinHostPort(host, port) + "/"
	case shellService:
		return strings.Replace(line, "printf hello", `printf 'help\n'`, 1)
	case topicsService:
		return strings.Replace(line, "printf hello | nc -N", `printf '{"action":"subscribe","data":"events"}\0' | nc`, 1)
	case echoService:
		return line
	}
	if call, ok := strings.CutPrefix(line, "printf hello"); ok {
		return tryPacket + call
	}
	if client, ok := strings.CutSuffix(line, "  # then type a line"); ok {
		// -quiet alone would go on when there is nothing more to send.
		return "(" + tryPacket + "; sleep 1) | " + strings.Replace(client, "-quiet", "-quiet -no_ign_eof", 1)
	}
	return line
}

// tryPacket asks the packet server for the time: a length in octal, and a call.
const tryPacket = `printf '\0\0\0\050{"jsonrpc":"2.0","method":"time","id":1}'`

func tryEcho(e endpoint, a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		switch {
		case !e.TLS:
			return "printf hello | nc -N -U " + quote(u.Name)
		case u.Name[0] == '@':
			return "# no common client speaks TLS on an abstract socket"
		}
		return "openssl s_client -quiet -unix " + quote(u.Name) + "  # then type a line"
	}
	host, port := reachable(a)
	if e.TLS {
		return "openssl s_client -quiet -connect " + quote(net.JoinHostPort(host, port)) + "  # then type a line"
	}
	return "printf hello | nc -N " + quote(host) + " " + port
}

// reachable returns an address of this machine for a listener bound to a, which may be
// bound to all of them.
func reachable(a net.Addr) (host, port string) {
	host, port, _ = net.SplitHostPort(a.String())
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "::1"
		if ip.Is4() {
			host = loopback
		}
	}
	return host, port
}

// quote makes one word of s for a shell.
func quote(s string) string {
	const safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/@%+=:,._-"
	if s != "" && strings.Trim(s, safe) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func limitText(n int) string {
	if n == ranch.Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// checked says what would be served.
func (c *config) checked(w io.Writer) {
	fmt.Fprintln(w, "ranchd: flags and files are in order; it would serve")
	for _, e := range c.Endpoints {
		fmt.Fprintf(w, "  %s\n", e)
	}
}
