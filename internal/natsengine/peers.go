package natsengine

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"slices"
	"strings"
)

// OtherPeers returns the addresses in peers that are not the one of this node, without duplicates.
func OtherPeers(listen string, peers []string) (others []string) {
	own, port, _ := net.SplitHostPort(listen)
	for _, p := range peers {
		host, peerPort, _ := net.SplitHostPort(p)
		if slices.Contains(others, p) || p == listen || peerPort == port && isOwn(own, host) {
			continue
		}
		others = append(others, p)
	}
	return others
}

// isOwn reports whether a server that listens on a host is reached by another name of it.
func isOwn(listen, host string) bool {
	if name, err := os.Hostname(); err == nil && strings.EqualFold(name, host) {
		return true
	}
	own, ip := net.ParseIP(listen), net.ParseIP(host)
	if host == "localhost" {
		ip = net.IPv4(127, 0, 0, 1)
	}
	if own != nil && ip != nil && own.Equal(ip) {
		return true
	}
	if own != nil && !own.IsUnspecified() || ip == nil {
		return false
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// secretOf returns the password of routes. It has one form whatever the secret is: a password that
// looks like a hash of bcrypt would be one for nats-server.
func secretOf(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("ranch cluster\x00" + secret))
	return hex.EncodeToString(sum[:])
}
