// Command router passes TLS connections on to one of two servers by the server name of the
// ClientHello, without terminating TLS: the servers have the certificates. Names without a route
// receive the alert "unrecognized name", and what is not TLS is closed. The program runs the two
// servers too, as an example; each answers with its name.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goranch/conns"
	"goranch/examples/internal/selfsigned"
	"goranch/protocol/netlisten"
	"goranch/protocol/relay"
	"goranch/protocol/sniff"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "address to listen on")
	flag.Parse()
	if _, err := start(*addr); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	if err := ranch.Drain(context.Background(), "router"); err != nil { // before the servers behind it
		log.Print(err)
	}
	if err := ranch.Drain(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// start starts the two servers, and the router in front of them.
func start(addr string) (*ranch.Listener, error) {
	shop, err := startServer("shop.example")
	if err != nil {
		return nil, err
	}
	mail, err := startServer("mail.example")
	if err != nil {
		return nil, err
	}
	toShop, err := forwardTo(shop)
	if err != nil {
		return nil, err
	}
	toMail, err := forwardTo(mail)
	if err != nil {
		return nil, err
	}
	routes, err := sniff.TLSRoutes(
		sniff.Route{ServerNames: []string{"shop.example", "*.shop.example"}, Protocol: toShop},
		sniff.Route{ServerNames: []string{"mail.example"}, Protocol: toMail},
		sniff.Route{Protocol: sniff.RefuseName()},
	)
	if err != nil {
		return nil, err
	}
	mux, err := sniff.New(sniff.Config{Rules: []sniff.Rule{{Name: "tls", Select: routes}}})
	if err != nil {
		return nil, err
	}
	return ranch.StartListener("router", transport.TCP{}, ranch.Options{
		Addr: addr, MaxConnections: 10_000, Limits: conns.Limits{PerAddress: 100, IdleTimeout: 5 * time.Minute},
	}, mux)
}

// forwardTo returns a protocol that forwards connections to a server. Several upstreams would share
// them; Options.Check would add health checks.
func forwardTo(l *ranch.Listener) (*relay.Relay, error) {
	return relay.New(relay.Options{Upstreams: []relay.Upstream{{Addr: l.Addr().String()}}})
}

// startServer starts a web server with a certificate for a host name.
func startServer(name string) (*ranch.Listener, error) {
	cert, err := selfsigned.New(name)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s, by %s\n", name, r.Proto)
		}),
	}
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv), Refuse: netlisten.RefuseHTTP})
	go func() {
		if err := srv.Serve(nl); !errors.Is(err, http.ErrServerClosed) {
			log.Print(err)
		}
	}()
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	return ranch.StartListener(name, transport.TLS{Config: config}, ranch.Options{Addr: "127.0.0.1:0"}, nl)
}
