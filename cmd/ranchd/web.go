package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"goranch/protocol"
	"goranch/protocol/netlisten"
	"goranch/protocol/pubsub/web"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

// Limits of requests.
const (
	headerTime  = 10 * time.Second // to receive a request
	headerBytes = 12 << 10         // net/http adds 4 KiB
	browserIdle = 2 * time.Minute  // between two requests
)

// webAccess is which hosts and origins web listeners serve.
type webAccess struct{ Origins, Hosts []string }

func (f *flags) webAccess(bad *faults) webAccess {
	for _, p := range []struct {
		flag     string
		patterns []string
	}{{"--allowed-origin", f.AllowedOrigin}, {"--allowed-host", f.AllowedHost}} {
		for _, v := range p.patterns {
			if _, err := path.Match(v, ""); err != nil || v == "" || strings.Contains(v, "/") {
				*bad = append(*bad, fmt.Errorf("%s %q: allowed are hosts without a scheme, such as topics.example.org or *.example.org:8443", p.flag, v))
			}
		}
	}
	return webAccess{f.AllowedOrigin, f.AllowedHost}
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

// newWeb makes the gateway by which browsers come to the topics: a connection in memory for each of them.
func (d *daemon) newWeb() (protocol.Protocol, error) {
	if err := d.provide(topicsService); err != nil {
		return nil, err
	}
	mem := new(transport.Mem)
	inner, err := new(ranch.Server).StartListener("browsers", proxy.Transport{Inner: mem, Local: proxy.Require}, ranch.Options{
		Addr: "topics", MaxConnections: ranch.Unlimited, Logger: slog.New(slog.DiscardHandler),
	}, d.topics)
	if err != nil {
		return nil, err
	}
	gw, err := web.NewGateway(web.Options{
		Origins: d.Web.Origins, Hosts: d.Web.Hosts,
		Dial: func(ctx context.Context) (net.Conn, error) { return dialTopics(ctx, mem) },
	})
	if err != nil {
		return nil, errors.Join(err, inner.Stop())
	}
	srv := &http.Server{Handler: gw, ReadTimeout: headerTime, MaxHeaderBytes: headerBytes, IdleTimeout: browserIdle, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug)}
	nl := netlisten.New(func(ctx context.Context) {
		gw.Shutdown(ctx)
		netlisten.StopHTTP(srv)(ctx)
	})
	go srv.Serve(nl) // until Shutdown
	d.services.closers = append(d.services.closers, func(ctx context.Context) error {
		return errors.Join(gw.Shutdown(ctx), srv.Shutdown(ctx), inner.Stop())
	})
	return nl, nil
}
