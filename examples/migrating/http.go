package migrating

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"goranch/conns"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/certs"
)

func HTTPBefore(ctx context.Context, addr string, limit int, h http.Handler, cert, key string) error {
	var current atomic.Pointer[tls.Certificate]
	load := func() error {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err == nil {
			current.Store(&pair)
		}
		return err
	}
	if err := load(); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if err := load(); err != nil {
					log.Print(err)
				}
			}
		}
	}()
	srv := &http.Server{Handler: h, TLSConfig: &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(netutil.LimitListener(ln, limit), "", "") }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return srv.Shutdown(stop)
}

func HTTPAfter(ctx context.Context, addr string, limit int, h http.Handler, cert, key string) error {
	store, err := certs.Open(certs.Options{Pairs: []certs.Pair{{Cert: cert, Key: key}}})
	if err != nil {
		return err
	}
	go store.Run(ctx) // watches the files
	srv := &http.Server{Handler: h}
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv), Refuse: netlisten.RefuseHTTP})
	go srv.Serve(nl)
	tr := transport.TLS{Config: store.Config(&tls.Config{NextProtos: []string{"h2", "http/1.1"}})}
	opts := ranch.Options{
		Addr: addr, MaxConnections: limit, RefuseAfter: time.Second, ShutdownTimeout: 30 * time.Second,
		Limits: conns.Limits{PerAddress: 100, MaxHandshakes: 50},
	}
	if _, err := ranch.StartListener("web", tr, opts, nl); err != nil {
		return err
	}
	<-ctx.Done()
	err = ranch.Drain(context.Background(), "web")
	nl.Shutdown(context.Background())
	return err
}
