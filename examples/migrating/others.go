package migrating

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/gliderlabs/ssh"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"goranch/conns"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

func SMTPBefore(ctx context.Context, srv *smtp.Server, smtps string) error {
	served := make(chan error, 2)
	go func() { served <- srv.ListenAndServe() }()
	secure, err := tls.Listen("tcp", smtps, srv.TLSConfig)
	if err != nil {
		return err
	}
	go func() { served <- srv.Serve(secure) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return srv.Shutdown(stop)
}

func SMTPAfter(ctx context.Context, srv *smtp.Server, smtps string, limit int) error {
	nl := netlisten.New(netlisten.Options{
		Stop:   func(ctx context.Context) { srv.Shutdown(ctx) },
		Refuse: netlisten.RefuseGreeting("421 4.3.2 too many connections\r\n"),
	})
	go srv.Serve(nl)
	both, err := conns.NewShared(conns.SharedLimits{MaxConnections: limit, PerAddress: 20})
	if err != nil {
		return err
	}
	opts := ranch.Options{Addr: srv.Addr, Shared: both, RefuseAfter: time.Second, ShutdownTimeout: 30 * time.Second}
	if _, err := ranch.StartListener("smtp", transport.TCP{}, opts, nl); err != nil {
		return err
	}
	opts.Addr = smtps
	if _, err := ranch.StartListener("smtps", transport.TLS{Config: srv.TLSConfig}, opts, nl); err != nil {
		return err
	}
	<-ctx.Done()
	return ranch.Drain(context.Background(), "smtp", "smtps")
}

func SSHBefore(ctx context.Context, srv *ssh.Server) error {
	served := make(chan error, 1)
	go func() { served <- srv.ListenAndServe() }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return srv.Close()
	}
	return nil
}

func SSHAfter(ctx context.Context, srv *ssh.Server, limit int) error {
	nl := netlisten.New(netlisten.Options{Stop: func(ctx context.Context) { srv.Shutdown(ctx) }})
	go srv.Serve(nl)
	opts := ranch.Options{
		Addr: srv.Addr, MaxConnections: limit, ShutdownTimeout: 30 * time.Second,
		Limits: conns.Limits{PerAddress: 20, IdleTimeout: 10 * time.Minute},
	}
	if _, err := ranch.StartListener("ssh", transport.TCP{}, opts, nl); err != nil {
		return err
	}
	<-ctx.Done()
	return ranch.Drain(context.Background(), "ssh")
}

func MQTTBefore(ctx context.Context, broker *mqtt.Server, addr string) error {
	if err := broker.AddListener(listeners.NewTCP(listeners.Config{ID: "mqtt", Address: addr})); err != nil {
		return err
	}
	if err := broker.Serve(); err != nil {
		return err
	}
	<-ctx.Done()
	return broker.Close()
}
