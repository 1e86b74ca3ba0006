package main

import (
	"context"
	"net"

	"goranch/internal/weborigin"
	"goranch/protocol/pubsub/web"
	"goranch/transport"
	"goranch/transport/proxy"
)

// webConfig configures a gateway of browsers: the hosts and origins that it serves, and its limit.
type webConfig struct {
	Origins, Hosts []string
	MaxBrowsers    int
}

func (f *flags) webConfig(all *faults) webConfig {
	checkHostPatterns(all, "--allowed-origin", f.AllowedOrigin)
	checkHostPatterns(all, "--allowed-host", f.AllowedHost)
	return webConfig{f.AllowedOrigin, f.AllowedHost, read(all, "--max-browsers", f.MaxBrowsers, maxSessions)}
}

func checkHostPatterns(all *faults, flag string, patterns []string) {
	for _, p := range patterns {
		if p == "" || !weborigin.IsPattern(p) {
			all.add("%s %q: allowed are hosts without a scheme, such as topics.example.org or *.example.org:8443", flag, p)
		}
	}
}

// dialTopics connects to the topic server with the address of the browser in a PROXY header, so
// that the server's limits per source address apply to browsers.
func dialTopics(ctx context.Context, mem *transport.Mem) (net.Conn, error) {
	header := &transport.ProxyHeader{Local: true}
	if addr, ok := web.BrowserAddr(ctx).(*net.TCPAddr); ok {
		server := &net.TCPAddr{IP: net.IPv4zero}
		if addr.IP.To4() == nil {
			server.IP = net.IPv6zero
		}
		header = &transport.ProxyHeader{Source: addr, Destination: server}
	}
	return proxy.Transport{Inner: mem, Header: header}.Dial(ctx, "topics")
}
