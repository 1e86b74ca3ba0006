package main

import (
	"context"
	"net"

	"goranch/internal/weborigin"
	"goranch/protocol/pubsub/web"
	"goranch/transport"
	"goranch/transport/proxy"
)

// webAccess is the hosts and origins that web listeners serve.
type webAccess struct{ Origins, Hosts []string }

func (f *flags) webAccess(all *faults) webAccess {
	checkHostPatterns(all, "--allowed-origin", f.AllowedOrigin)
	checkHostPatterns(all, "--allowed-host", f.AllowedHost)
	return webAccess{f.AllowedOrigin, f.AllowedHost}
}

func checkHostPatterns(all *faults, flag string, patterns []string) {
	for _, p := range patterns {
		if p == "" || !weborigin.IsPattern(p) {
			all.add("%s %q: allowed are hosts without a scheme, such as topics.example.org or *.example.org:8443", flag, p)
		}
	}
}

// dialTopics connects to the topic server with the address of the browser in a PROXY header, so that
// the server's limits per source address apply to browsers.
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
