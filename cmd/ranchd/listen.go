package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"goranch/internal/listenaddr"
)

// defaultListen is the default of --listen: all protocols on loopback. 8007 stands for 7, the port
// of echo, which requires privileges.
var defaultListen = []string{"tcp://127.0.0.1:8007", "tls://127.0.0.1:8008",
	"shell+tcp://127.0.0.1:8080", "topics+tcp://127.0.0.1:8081", "packet+tcp://127.0.0.1:8082", "web+tcp://127.0.0.1:8083"}

// service is the protocol of an endpoint. In an address its name and "+" precede the scheme; an
// address without them is echo.
type service string

const (
	echoService   service = ""
	shellService  service = "shell"
	topicsService service = "topics"
	packetService service = "packet"
	webService    service = "web"
	relayService  service = "relay"
	adminService  service = "admin" // only by --admin

	adminHTTPService service = "admin-http" // only by --admin-http
)

func (s service) String() string {
	if s == echoService {
		return "echo"
	}
	return string(s)
}

// prefixes are the services that an address can name.
var prefixes = []service{shellService, topicsService, packetService, webService, relayService}

// loopback is the default host. Package net would listen on every interface, which must be written
// explicitly here.
const loopback = "127.0.0.1"

// endpoint is a parsed value of --listen.
type endpoint struct {
	Name      string // of the listener; "" until nameEndpoints sets it
	Service   service
	TLS       bool
	Addr      listenaddr.Addr
	Defaulted bool // the host is the default

	Default bool            // another address can replace Addr if it cannot be used: Addr is a default, or has fallback = true
	Instead string          // the address that Addr replaces, as text
	Wanted  listenaddr.Addr // the same
}

// String returns the endpoint in the form that parseEndpoint reads.
func (e endpoint) String() string {
	scheme := e.Addr.Network
	switch {
	case e.TLS && scheme != "tcp":
		scheme = "tls+" + scheme
	case e.TLS:
		scheme = "tls"
	}
	if e.Service != echoService {
		scheme = string(e.Service) + "+" + scheme
	}
	s := scheme + "://" + e.Addr.Address
	if e.Name != "" {
		s = e.Name + "=" + s
	}
	return s
}

// fallback returns an address that replaces one in use: a free port, or a socket in a new
// directory.
func (e endpoint) fallback() (listenaddr.Addr, error) {
	if e.unix() {
		return privateSocket()
	}
	host, _, err := net.SplitHostPort(e.Addr.Address)
	return listenaddr.Addr{Network: "tcp", Address: net.JoinHostPort(host, "0")}, err
}

func (e endpoint) unix() bool { return e.Addr.Network == "unix" }

// host returns the IP address of the host. ok is false for host names and Unix sockets.
func (e endpoint) host() (ip netip.Addr, ok bool) {
	host, _, _ := net.SplitHostPort(e.Addr.Address)
	ip, err := netip.ParseAddr(host)
	return ip, err == nil && !e.unix()
}

// zone returns the network interface of an IPv6 address, or "".
func (e endpoint) zone() string {
	ip, _ := e.host()
	return ip.Zone()
}

// anyPort reports whether the system chooses the port.
func (e endpoint) anyPort() bool {
	_, port, _ := net.SplitHostPort(e.Addr.Address)
	return port == "0" && !e.unix()
}

// overlaps reports whether a socket cannot be bound to a while one is bound to b, because one of
// them is bound to all interfaces. [::] includes IPv4.
func (a endpoint) overlaps(b endpoint) bool {
	if a.Addr.Network != "tcp" || b.Addr.Network != "tcp" || a.anyPort() {
		return false
	}
	_, portA, _ := net.SplitHostPort(a.Addr.Address)
	_, portB, _ := net.SplitHostPort(b.Addr.Address)
	if portA != portB {
		return false
	}
	ipA, okA := a.host()
	ipB, okB := b.host()
	includes := func(all, ip netip.Addr, isIP bool) bool {
		return all.IsUnspecified() && (all.Is6() || isIP && ip.Is4())
	}
	return includes(ipA, ipB, okB) || includes(ipB, ipA, okA)
}

const listenForms = "use tcp://host:port, tls://host:port, unix:/path, unix:@name, fd:N or systemd:NAME; ranchd --help lists the prefixes for TLS, protocols and names"

// parseEndpoint reads "[NAME=]ADDRESS". The default scheme is tcp, the default host is loopback.
func parseEndpoint(s string) (endpoint, error) {
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return endpoint{}, errors.New("the address contains a space or a control character")
	}
	var e endpoint
	// A path can contain "=" too, but its scheme contains one of these characters.
	if name, rest, ok := strings.Cut(s, "="); ok && !strings.ContainsAny(name, ":/@[") {
		if err := checkName(name); err != nil {
			return endpoint{}, err
		}
		e.Name, s = name, rest
	}
	for _, name := range prefixes {
		if rest, ok := strings.CutPrefix(s, string(name)+"+"); ok {
			e.Service, s = name, rest
		}
	}
	scheme, rest, hasScheme := cutScheme(s)
	var err error
	switch scheme {
	case "tcp", "tls":
		e.TLS = scheme == "tls"
		err = e.parseTCP(rest)
	case "unix", "tls+unix":
		e.TLS = scheme == "tls+unix"
		err = e.parseUnix(rest)
	case "fd", "systemd", "tls+fd", "tls+systemd":
		plain, isTLS := strings.CutPrefix(scheme, "tls+")
		e.TLS = isTLS
		e.Addr, err = listenaddr.Parse(plain + ":" + rest)
	default:
		if hasScheme {
			err = fmt.Errorf("unknown scheme %q; %s", scheme, listenForms)
		} else {
			err = e.parseTCP(s)
		}
	}
	if bad := new(listenaddr.Error); errors.As(err, &bad) {
		err = bad.Err // the caller names the address
	}
	if err != nil {
		return endpoint{}, err
	}
	return e, nil
}

// cutScheme splits an address into its scheme and the rest. The known schemes are recognized
// without "//" too: "tls:443" would otherwise be plain TCP on a host named tls.
func cutScheme(s string) (scheme, rest string, ok bool) {
	scheme, rest, _ = strings.Cut(s, ":")
	if rest, ok = strings.CutPrefix(rest, "//"); ok {
		return scheme, rest, true
	}
	switch scheme {
	case "tcp", "tls", "unix", "tls+unix", "fd", "tls+fd", "systemd", "tls+systemd":
		return scheme, rest, true
	}
	return "", s, false
}

func (e *endpoint) parseTCP(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return fmt.Errorf("%q is not host:port or [ipv6]:port; %s", s, listenForms)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("port %q: allowed are the numbers 0 to 65535; 0 chooses a free port", port)
	}
	if host == "" {
		host, e.Defaulted = loopback, true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String()
	} else if err := checkHost(host); err != nil {
		return err
	}
	e.Addr = listenaddr.Addr{Network: "tcp", Address: net.JoinHostPort(host, strconv.FormatUint(n, 10))}
	return nil
}

// checkHost refuses invalid host names. Resolvers read "0" and "0x0" as 0.0.0.0, so a host that
// ends in a number must be a complete IP address.
func checkHost(host string) error {
	const all = "use 0.0.0.0 or [::] for every interface"
	if len(host) > 253 || strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return fmt.Errorf("host %q is neither an IP address nor a host name; %s", host, all)
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, label := range labels {
		if label == "" {
			return fmt.Errorf("host %q is neither an IP address nor a host name; %s", host, all)
		}
	}
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("host %q looks like an IP address but is invalid; %s", host, all)
	}
	return nil
}

func (e *endpoint) parseUnix(s string) error {
	if s == "" || s[0] != '/' && s[0] != '@' {
		return fmt.Errorf("%q: allowed for Unix sockets are absolute paths (unix:/path) and names (unix:@name)", s)
	}
	a, err := listenaddr.Parse("unix:" + s) // checks the length, and names on this system
	if err != nil {
		return err
	}
	e.Addr = a
	return nil
}

func checkName(name string) error {
	ok := name != "" && len(name) <= 64
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if !ok {
		return fmt.Errorf("name %q: allowed are 1 to 64 letters, digits and . _ -", name)
	}
	return nil
}

// nameEndpoints names endpoints without a name by protocol and transport, with a number if the name
// is used.
func nameEndpoints(all []endpoint) {
	used := make(map[string]bool)
	for _, e := range all {
		used[e.Name] = true
	}
	for i := range all {
		if all[i].Name != "" {
			continue
		}
		base := all[i].Service.String() + "-" + all[i].Addr.Network
		switch {
		case all[i].TLS && all[i].Addr.Network != "tcp":
			base = all[i].Service.String() + "-tls-" + all[i].Addr.Network
		case all[i].TLS:
			base = all[i].Service.String() + "-tls"
		}
		name := base
		for n := 2; used[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		all[i].Name, used[name] = name, true
	}
}
