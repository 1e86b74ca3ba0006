package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"goranch/internal/room"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/packet"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/natsbroker"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

// runningService is a protocol with its state. Listeners with the same key share it.
type runningService struct {
	key      serviceKey
	protocol protocol.Protocol
	access   atomic.Pointer[shellAccess] // of a shell, for new connections
	topics   *pubsub.Server              // nil for others
	broker   *natsbroker.Broker          // of topics in a cluster; nil for others
	sessions *session.Manager[shell.State]
	packet   packetConfig
	routing  *routing                      // of relays; nil for others
	http     *adminhttp.Handler            // of operators
	closers  []func(context.Context) error // in the order of creation
}

// close closes the service after its connections have ended.
func (s *runningService) close(ctx context.Context) (errs error) {
	for _, f := range slices.Backward(s.closers) {
		errs = errors.Join(errs, f(ctx))
	}
	s.closers = nil
	return errs
}

// newService creates the service of a listener.
func (d *daemon) newService(c *config, l *listenerConfig) (*runningService, error) {
	s := &runningService{key: l.service()}
	var err error
	switch s.key.protocol {
	case echoService:
		s.protocol = echo.Protocol{}
	case packetService:
		s.packet = l.Packet
		s.protocol, err = newPacket(l.Packet)
	case topicsService:
		err = d.newTopics(s, c, l)
	case shellService:
		err = d.newPublicShell(s, c, l)
	case relayService:
		err = d.newRelay(s, l)
	case adminHTTPService:
		err = d.newAdminHTTP(s, l)
	default:
		err = d.newOperatorShell(s, l)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.key, errors.Join(err, s.close(context.Background())))
	}
	return s, nil
}

// String returns the protocol, and the name of the service if it is another one.
func (k serviceKey) String() string {
	if k.name == "" || k.name == k.protocol.String() {
		return k.protocol.String()
	}
	return k.protocol.String() + " " + k.name
}

// newPacket returns the packet server with chat rooms.
func newPacket(c packetConfig) (protocol.Protocol, error) {
	s, err := packet.NewServer(packet.Options{
		MaxFrame: c.MaxFrame, BytesPerSecond: c.BytesPerSecond, FramesPerSecond: c.FramesPerSecond, MaxBatch: c.MaxBatch,
	})
	if err == nil {
		err = room.Register(s, room.Options{})
	}
	return s, err
}

func (d *daemon) newTopics(s *runningService, c *config, l *listenerConfig) error {
	store, err := d.newStore(s, c)
	if err != nil {
		return err
	}
	t := l.Topics
	broker, err := d.newBroker(s, t)
	if err != nil {
		return errors.Join(err, closeStore(store))
	}
	srv, err := pubsub.NewServer(pubsub.Options{
		SessionTTL: l.Sessions.TTL, MaxSessions: l.Sessions.Max, MaxSessionsPerAddress: l.Sessions.MaxPerAddress, Store: store, Broker: broker,
		MaxFrame: t.MaxFrame, MaxSubscriptions: t.MaxSubscriptions, MaxTopics: t.MaxTopics, PublishRate: t.PublishRate,
		TotalBytes: t.TotalBytes, AddressBytes: t.AddressBytes, History: t.History, Heartbeat: t.Heartbeat, Retain: t.Retain,
		OnError: func(err error) { d.log.Warn("topic server error", "err", err) },
	})
	if err != nil {
		return errors.Join(err, closeStore(store))
	}
	s.protocol, s.topics, s.closers = srv, srv, append(s.closers, srv.Close)
	return nil
}

// newPublicShell creates a shell that has a few read-only commands and the programs of --program.
func (d *daemon) newPublicShell(s *runningService, c *config, l *listenerConfig) error {
	store, err := d.newStore(s, c)
	if err != nil {
		return err
	}
	s.access.Store(&l.Access)
	sh, err := shell.New(shell.Options{
		Commands: d.publicCommands(), Programs: l.Shell.Programs, Root: l.Shell.Root, Version: version(),
		Sessions: session.Options[shell.State]{
			TTL: l.Sessions.TTL, Max: l.Sessions.Max, Evict: true, NewID: l.Shell.NewID, Store: store,
			MaxPerAddress: l.Sessions.MaxPerAddress, MaxBytesPerAddress: l.Sessions.MaxBytesPerAddress,
			OnError: func(err error) { d.log.Warn("shell session error", "err", err) },
		},
		Authenticate: s.authenticate(shellAccess.publicAuth), Token: s.token, Audit: admin.Audit(d.log),
	})
	if err != nil {
		return errors.Join(err, closeStore(store))
	}
	s.protocol, s.sessions, s.closers = sh, sh.Sessions(), append(s.closers, sh.Close)
	return nil
}

// newOperatorShell creates a shell with the commands of package admin. Its sessions are not stored.
func (d *daemon) newOperatorShell(s *runningService, l *listenerConfig) error {
	s.access.Store(&l.Access)
	sh, err := shell.New(shell.Options{
		Commands: d.operatorCommands(), Version: version(),
		Sessions:     session.Options[shell.State]{TTL: l.Sessions.TTL, Max: 1000, Evict: true},
		Authenticate: s.authenticate(shellAccess.operatorAuth), Token: s.token, Audit: admin.Audit(d.log),
	})
	if err != nil {
		return err
	}
	s.protocol, s.closers = sh, append(s.closers, sh.Close)
	return nil
}

// authenticate returns an authentication by the current rules.
func (s *runningService) authenticate(auth func(shellAccess) access.Authenticator) access.Authenticator {
	return func(ctx context.Context, conn *transport.Conn) (shell.User, error) {
		return auth(*s.access.Load())(ctx, conn)
	}
}

// token authenticates by the current tokens.
func (s *runningService) token(ctx context.Context, conn *transport.Conn, token string) (shell.User, error) {
	if t := s.access.Load().Tokens; t != nil {
		return t.Token(ctx, conn, token)
	}
	return shell.User{}, errNoTokens
}

var errNoTokens = errors.New("this server accepts no tokens")

func closeStore(s session.Store) error {
	if s == nil {
		return nil
	}
	return s.Close()
}

// closeTimeout limits the time to close all services.
const closeTimeout = 5 * time.Second

// closeServices closes the gateways and the services after their connections have ended.
func (d *daemon) closeServices() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, r := range slices.Backward(d.all()) {
		d.logClosed(r.close(ctx))
	}
	d.mu.Lock()
	services := d.services
	d.services = map[serviceKey]*runningService{}
	d.mu.Unlock()
	for _, s := range services {
		d.logClosed(s.close(ctx))
	}
	d.closeCluster()
}

func (d *daemon) logClosed(err error) {
	if err != nil {
		d.log.Error("closing a protocol failed", "err", err)
	}
}
