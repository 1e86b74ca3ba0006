package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"goranch/internal/listenaddr"
	"goranch/internal/termtext"
	"goranch/ranch"
)

// printBanner prints the listeners, commands to try them, and how to stop.
func (d *daemon) printBanner(w io.Writer) {
	d.changing.Lock()
	defer d.changing.Unlock()
	var b strings.Builder
	b.WriteString("ranchd is listening:\n\n")
	for _, r := range d.all() {
		l, e := r.l, r.config.endpoint
		fmt.Fprintf(&b, "  %s: %s on %s\n", e.Name, e.Service, e.bound(l.Addr()))
		try := tryCommand(e, l.Addr())
		if e.Service == adminHTTPService {
			try = d.tryAdminHTTP(r, l.Addr())
		}
		fmt.Fprintf(&b, "      %s\n", try)
		if e.Instead != "" {
			fmt.Fprintf(&b, "      (the default %s could not be used; see the log)\n", e.Instead)
		}
	}
	b.WriteString("\n")
	if d.selfSigned != nil {
		fmt.Fprintf(&b, "TLS uses a self-signed certificate, for testing only. Its SHA-256 fingerprint:\n  %s\n", fingerprint(*d.selfSigned))
	}
	if d.cluster != nil {
		fmt.Fprintf(&b, "Node %s of a cluster: %s.\n", d.cluster.config.Engine.Name, d.cluster.about())
	}
	fmt.Fprintf(&b, "%s Press Ctrl-C to stop.\n", d.capLine())
	io.WriteString(w, b.String())
}

// capLine says how many connections the listeners admit. With a configuration file they can differ.
func (d *daemon) capLine() string {
	c := d.config()
	if c.File != "" {
		return fmt.Sprintf("Configuration: %s; ranchctl limits shows the limits.", termtext.Line(c.File))
	}
	topics := ""
	if c.DefaultCap && slices.ContainsFunc(c.Listeners, func(l *listenerConfig) bool { return l.Service.state() == topicsService }) {
		topics = fmt.Sprintf(" (topics: %d)", topicsConnections)
	}
	return fmt.Sprintf("Maximum connections per listener: %s%s.", formatCap(c.MaxConnections), topics)
}

// bound returns the endpoint with the address that the system has bound, without its name.
func (e endpoint) bound(a net.Addr) endpoint {
	return endpoint{TLS: e.TLS, Addr: listenaddr.Addr{Network: a.Network(), Address: a.String()}}
}

// tryCommand returns a shell command that connects to an endpoint bound to a.
func tryCommand(e endpoint, a net.Addr) string {
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
		host, port := dialAddr(a)
		return "open in a browser: " + scheme + "://" + net.JoinHostPort(host, port) + "/"
	case shellService:
		return strings.Replace(line, "printf hello", `printf 'help\n'`, 1)
	case topicsService:
		return strings.Replace(line, "printf hello | nc -N", `printf '{"action":"subscribe","data":"events"}\0' | nc`, 1)
	case echoService:
		return line
	case relayService:
		return strings.TrimPrefix(line, "printf hello | ")
	}
	if call, ok := strings.CutPrefix(line, "printf hello"); ok {
		return tryPacket + call
	}
	if client, ok := strings.CutSuffix(line, "  # then type a line"); ok {
		// With -quiet alone, s_client does not exit at the end of its input.
		return "(" + tryPacket + "; sleep 1) | " + strings.Replace(client, "-quiet", "-quiet -no_ign_eof", 1)
	}
	return line
}

// tryPacket calls the method time of the packet server: the length in octal, then the call.
const tryPacket = `printf '\0\0\0\050{"jsonrpc":"2.0","method":"time","id":1}'`

func tryEcho(e endpoint, a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		switch {
		case !e.TLS:
			return "printf hello | nc -N -U " + quote(u.Name)
		case u.Name[0] == '@':
			return "# common clients do not support TLS on an abstract socket"
		}
		return "openssl s_client -quiet -unix " + quote(u.Name) + "  # then type a line"
	}
	host, port := dialAddr(a)
	if e.TLS {
		return "openssl s_client -quiet -connect " + quote(net.JoinHostPort(host, port)) + "  # then type a line"
	}
	return "printf hello | nc -N " + quote(host) + " " + port
}

// dialAddr returns an address of this host for a listener bound to a, which can be unspecified.
func dialAddr(a net.Addr) (host, port string) {
	host, port, _ = net.SplitHostPort(a.String())
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "::1"
		if ip.Is4() {
			host = loopback
		}
	}
	return host, port
}

// quote returns s as one word for a Unix shell.
func quote(s string) string {
	const safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/@%+=:,._-"
	if s != "" && strings.Trim(s, safe) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// formatCap returns a cap as the flag has it.
func formatCap(n int) string {
	if n == ranch.Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// printEndpoints prints the endpoints of a valid configuration.
func (c *config) printEndpoints(w io.Writer) {
	fmt.Fprintln(w, "ranchd: flags and files are valid; ranchd would listen on:")
	for _, l := range c.Listeners {
		fmt.Fprintf(w, "  %s\n", l.endpoint)
	}
}
