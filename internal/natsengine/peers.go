package natsengine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// OtherPeers returns the addresses in peers that are not the one of this node, without duplicates.
// It fails if the addresses of this machine are needed and cannot be read: a node that counts
// itself twice would wait for too large a majority.
func OtherPeers(listen string, peers []string) (others []string, err error) {
	own, port, _ := net.SplitHostPort(listen)
	for _, p := range peers {
		host, peerPort, _ := net.SplitHostPort(p)
		if slices.Contains(others, p) || p == listen {
			continue
		}
		if peerPort == port {
			this, err := isOwn(own, host)
			if err != nil {
				return nil, fmt.Errorf("peer %s: cannot find out whether it is this node: %w; listen on the address that is in peers", p, err)
			}
			if this {
				continue
			}
		}
		others = append(others, p)
	}
	return others, nil
}

// interfaceAddrs reads the addresses of this machine. A test replaces it.
var interfaceAddrs = net.InterfaceAddrs

// isOwn reports whether a server that listens on a host is reached by another name of it.
func isOwn(listen, host string) (bool, error) {
	if name, err := os.Hostname(); err == nil && strings.EqualFold(name, host) {
		return true, nil
	}
	own := net.ParseIP(listen) // nil: a name
	if ip := net.ParseIP(host); ip != nil {
		return reaches(own, ip)
	}
	for _, ip := range lookup(host) {
		// Many systems have the own name in /etc/hosts with an address of loopback.
		if ip.IsLoopback() && !own.IsLoopback() {
			return true, nil
		}
		if this, err := reaches(own, ip); this || err != nil {
			return this, err
		}
	}
	return false, nil
}

// lookupTimeout limits the lookup of a name.
const lookupTimeout = time.Second

// lookup returns the addresses of a host; none if the name is not known, as that of another node
// may be. A test replaces it.
var lookup = func(host string) []net.IP {
	if host == "localhost" {
		return []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	all, _ := net.DefaultResolver.LookupIP(ctx, "ip", host)
	return all
}

// reaches reports whether connections to an address reach a server that listens on own, which is
// nil or unspecified for all addresses of this host.
func reaches(own, ip net.IP) (bool, error) {
	if own != nil && !own.IsUnspecified() || own.Equal(ip) {
		return own.Equal(ip), nil
	}
	addrs, err := interfaceAddrs()
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	}), err
}

// secretOf returns the password of routes, a hash of the secret: nats-server would take a secret
// that has the form of a bcrypt hash for a hash.
func secretOf(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("ranch cluster\x00" + secret))
	return hex.EncodeToString(sum[:])
}
