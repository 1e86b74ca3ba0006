package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"goranch/internal/room"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/packet"
	"goranch/protocol/pubsub"
	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch/admin"
)

// services are the protocols of the endpoints. Endpoints with the same service share one.
type services struct {
	protocols map[service]protocol.Protocol
	closers   []func(context.Context) error // in the order of creation
}

// createServices creates the protocols of all endpoints.
func (d *daemon) createServices() error {
	if d.services.protocols == nil {
		d.services.protocols = map[service]protocol.Protocol{echoService: echo.Protocol{}}
	}
	for _, e := range d.Endpoints {
		if err := d.createService(e.Service); err != nil {
			return fmt.Errorf("%s: %w", e.Service, err)
		}
	}
	return nil
}

// createService creates a protocol unless it exists.
func (d *daemon) createService(s service) error {
	if d.services.protocols[s] != nil {
		return nil
	}
	p, err := d.newProtocol(s)
	if err == nil {
		d.services.protocols[s] = p
	}
	return err
}

func (d *daemon) newProtocol(s service) (protocol.Protocol, error) {
	switch s {
	case packetService:
		return newPacket()
	case topicsService:
		return d.newTopics()
	case webService:
		return d.newWeb()
	case shellService:
		return d.newPublicShell()
	case adminHTTPService:
		return d.newAdminHTTP()
	default:
		return d.newOperatorShell(d.Access.operatorAuth())
	}
}

// newPacket returns the packet server with chat rooms.
func newPacket() (protocol.Protocol, error) {
	s, err := packet.NewServer(packet.Options{})
	if err == nil {
		err = room.Register(s, room.Options{})
	}
	return s, err
}

func (d *daemon) newTopics() (protocol.Protocol, error) {
	store, err := d.openStore("topics")
	if err != nil {
		return nil, err
	}
	s, err := pubsub.NewServer(pubsub.Options{
		SessionTTL: d.Sessions.TTL, MaxSessions: d.Sessions.Max, MaxSessionsPerAddress: d.Sessions.MaxPerAddress, Store: store,
		OnError: func(err error) { d.log.Warn("topic server error", "err", err) },
	})
	if err != nil {
		return nil, errors.Join(err, closeStore(store))
	}
	d.services.closers = append(d.services.closers, s.Close)
	d.topics = s
	return s, nil
}

// newPublicShell returns the shell of --listen shell+…: it has a few read-only commands and the
// programs of --program.
func (d *daemon) newPublicShell() (protocol.Protocol, error) {
	store, err := d.openStore("shell")
	if err != nil {
		return nil, err
	}
	s, err := shell.New(shell.Options{
		Commands: d.publicCommands(), Programs: d.Shell.Programs, Root: d.Shell.Root, Version: version(),
		Sessions: session.Options[shell.State]{
			TTL: d.Sessions.TTL, Max: d.Sessions.Max, Evict: true, NewID: d.Shell.NewID, Store: store,
			MaxPerAddress: d.Sessions.MaxPerAddress, MaxBytesPerAddress: d.Sessions.MaxBytesPerAddress,
			OnError: func(err error) { d.log.Warn("shell session error", "err", err) },
		},
		Authenticate: d.Access.publicAuth(), Token: d.Access.tokenAuth(), Audit: admin.Audit(d.log),
	})
	if err != nil {
		return nil, errors.Join(err, closeStore(store))
	}
	d.services.closers = append(d.services.closers, s.Close)
	d.shell = s
	return s, nil
}

// newOperatorShell returns a shell with the commands of package admin. Its sessions are not stored.
func (d *daemon) newOperatorShell(auth access.Authenticator) (protocol.Protocol, error) {
	s, err := shell.New(shell.Options{
		Commands: d.operatorCommands(), Version: version(),
		Sessions:     session.Options[shell.State]{TTL: d.Sessions.TTL, Max: 1000, Evict: true},
		Authenticate: auth, Token: d.Access.tokenAuth(), Audit: admin.Audit(d.log),
	})
	if err != nil {
		return nil, err
	}
	d.services.closers = append(d.services.closers, s.Close)
	return s, nil
}

// openStore opens the session store in the directory of --state, or returns nil if there is none.
func (d *daemon) openStore(name string) (session.Store, error) {
	if d.Sessions.Dir == "" {
		return nil, nil
	}
	return boltstore.Open(filepath.Join(d.Sessions.Dir, name+".db"))
}

func closeStore(s session.Store) error {
	if s == nil {
		return nil
	}
	return s.Close()
}

// closeTimeout limits the time to close all services.
const closeTimeout = 5 * time.Second

// closeServices closes the protocols after their connections have ended.
func (d *daemon) closeServices() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, f := range slices.Backward(d.services.closers) {
		if err := f(ctx); err != nil {
			d.log.Error("closing a protocol failed", "err", err)
		}
	}
	d.services.closers = nil
}
