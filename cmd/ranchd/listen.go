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

// defaultListen is what is served when nobody says what: reachable from this machine
// only, echo on its registered port 7 moved to where no privilege is needed.
var defaultListen = []string{"tcp://127.0.0.1:8007", "tls://127.0.0.1:8008",
	"shell+tcp://127.0.0.1:8080", "topics+tcp://127.0.0.1:8081", "packet+tcp://127.0.0.1:8082", "web+tcp://127.0.0.1:8083"}

// service is the protocol that an endpoint speaks. Its name and a "+" stand before the scheme,
// without them it is echo.
type service string

const (
	echoService   service = ""
	shellService  service = "shell"
	topicsService service = "topics"
	packetService service = "packet"
	webService    service = "web"
	adminService  service = "admin" // by --admin only
)

func (s service) String() string {
	if s == echoService {
		return "echo"
	}
	return string(s)
}

var prefixed = []service{shellService, topicsService, packetService, webService}

// loopback stands for a host that was left out. In net it would be every interface,
// which nobody should get by leaving something out.
const loopback = "127.0.0.1"

// endpoint is one value of --listen, taken apart.
type endpoint struct {
	Name      string // the listener's; "" until nameAll has given it one
	Service   service
	TLS       bool
	Addr      listenaddr.Addr
	Defaulted bool // the host was left out
}

// String returns the form that parseEndpoint reads.
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

func (e endpoint) unix() bool { return e.Addr.Network == "unix" }

// host returns the host as an IP address. Names, and Unix sockets, have none.
func (e endpoint) host() (ip netip.Addr, ok bool) {
	host, _, _ := net.SplitHostPort(e.Addr.Address)
	ip, err := netip.ParseAddr(host)
	return ip, err == nil && !e.unix()
}

// anyPort reports whether the system chooses the port.
func (e endpoint) anyPort() bool {
	_, port, _ := net.SplitHostPort(e.Addr.Address)
	return port == "0" && !e.unix()
}

const listenForms = "use tcp://host:port, tls://host:port, unix:/path, unix:@name, fd:N or systemd:NAME, with tls+ before the last three for TLS, with shell+, topics+, web+ or packet+ before all that for another protocol than echo, and with NAME= before it if it is to have a name"

// parseEndpoint reads "[NAME=]ADDRESS". An address without a scheme is TCP, one without
// a host is loopback.
func parseEndpoint(s string) (endpoint, error) {
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return endpoint{}, errors.New("it contains a space or a control character")
	}
	var e endpoint
	// A path may contain "=" too, but then something of an address stands before it.
	if name, rest, ok := strings.Cut(s, "="); ok && !strings.ContainsAny(name, ":/@[") {
		if err := checkName(name); err != nil {
			return endpoint{}, err
		}
		e.Name, s = name, rest
	}
	for _, name := range prefixed {
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
			err = fmt.Errorf("unknown scheme %q: %s", scheme, listenForms)
		} else {
			err = e.parseTCP(s)
		}
	}
	if err != nil {
		return endpoint{}, err
	}
	return e, nil
}

// cutScheme separates the scheme. Only words that can be no host are schemes without
// "//": "tls:443" would otherwise serve in the clear on a host called tls.
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
		return fmt.Errorf("%q is no host:port, nor [ipv6]:port: %s", s, listenForms)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("port %q: allowed are the numbers 0 to 65535, where 0 is any free one", port)
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

// checkHost refuses what is no name of a host. Resolvers read "0" and "0x0" as 0.0.0.0,
// so whatever ends in a number has to be a complete address.
func checkHost(host string) error {
	const all = "for every interface write 0.0.0.0 or [::]"
	if len(host) > 253 || strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return fmt.Errorf("host %q is neither an IP address nor a name; %s", host, all)
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, label := range labels {
		if label == "" {
			return fmt.Errorf("host %q is neither an IP address nor a name; %s", host, all)
		}
	}
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("host %q looks like an IP address but is none; %s", host, all)
	}
	return nil
}

func (e *endpoint) parseUnix(s string) error {
	if s == "" || s[0] != '/' && s[0] != '@' {
		return fmt.Errorf("%q: a Unix socket needs an absolute path (unix:/path) or a name (unix:@name)", s)
	}
	a, err := listenaddr.Parse("unix:" + s) // knows how long a path may be, and whether names are possible
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

// nameAll gives a name to each endpoint that has none, after protocol and transport, with a
// number where that is taken.
func nameAll(all []endpoint) {
	taken := make(map[string]bool)
	for _, e := range all {
		taken[e.Name] = true
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
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		all[i].Name, taken[name] = name, true
	}
}
