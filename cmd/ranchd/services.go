package main

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// services are the protocols that are served, one of each for all endpoints.
type services struct {
	protocols map[service]protocol.Protocol
	closers   []func(context.Context) error // in the order in which they were made
}

// postListener is a protocol that has to know when it is listened on.
type postListener interface {
	PostListen(net.Listener) error
}

// prepare makes the protocols that the endpoints ask for.
func (d *daemon) prepare() error {
	if d.services.protocols == nil {
		d.services.protocols = map[service]protocol.Protocol{echoService: echo.Protocol{}}
	}
	for _, e := range d.Endpoints {
		if err := d.provide(e.Service); err != nil {
			return fmt.Errorf("%s: %w", e.Service, err)
		}
	}
	return nil
}

// provide makes a protocol unless it is there.
func (d *daemon) provide(s service) error {
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
		return d.newShell()
	default:
		return d.newAdmin()
	}
}

// newPacket makes the packet server with its rooms.
func newPacket() (protocol.Protocol, error) {
	s, err := packet.NewServer(packet.Options{})
	if err == nil {
		err = room.Register(s, room.Options{})
	}
	return s, err
}

func (d *daemon) newTopics() (protocol.Protocol, error) {
	store, err := d.store("topics")
	if err != nil {
		return nil, err
	}
	s, err := pubsub.NewServer(pubsub.Options{
		SessionTTL: d.Sessions.TTL, MaxSessions: d.Sessions.Max, Store: store,
		OnError: func(err error) { d.log.Warn("topic server", "err", err) },
	})
	if err != nil {
		return nil, errors.Join(err, closeStore(store))
	}
	d.services.closers = append(d.services.closers, s.Close)
	d.topics = s
	return s, nil
}

// newShell makes the shell for everybody: it looks around, and runs the programs that were chosen.
func (d *daemon) newShell() (protocol.Protocol, error) {
	store, err := d.store("shell")
	if err != nil {
		return nil, err
	}
	s, err := shell.New(shell.Options{
		Commands: d.lookAround(), Programs: d.Shell.Programs, Root: d.Shell.Root, Version: version(),
		Sessions: session.Options[shell.State]{
			TTL: d.Sessions.TTL, Max: d.Sessions.Max, NewID: d.Shell.NewID, Store: store,
			OnError: func(err error) { d.log.Warn("sessions of the shell", "err", err) },
		},
		Authenticate: d.Access.anybody(), Token: d.Access.token(), Audit: admin.Audit(d.log),
	})
	if err != nil {
		return nil, errors.Join(err, closeStore(store))
	}
	d.services.closers = append(d.services.closers, s.Close)
	d.shell = s
	return s, nil
}

func (d *daemon) newAdmin() (protocol.Protocol, error) { return d.operators(d.Access.operators()) }

// operators makes the operators' shell, for those who pass. Its sessions do not outlast the program.
func (d *daemon) operators(who access.Authenticator) (protocol.Protocol, error) {
	s, err := shell.New(shell.Options{
		Commands: d.adminCommands(), Version: version(),
		Sessions:     session.Options[shell.State]{TTL: d.Sessions.TTL, Max: 1000},
		Authenticate: who, Token: d.Access.token(), Audit: admin.Audit(d.log),
	})
	if err != nil {
		return nil, err
	}
	d.services.closers = append(d.services.closers, s.Close)
	return s, nil
}

// store opens the file in which sessions outlast the program; nil if there is to be none.
func (d *daemon) store(name string) (session.Store, error) {
	if d.Sessions.Dir == "" {
		return nil, nil
	}
	return boltstore.Open(filepath.Join(d.Sessions.Dir, name+".db"), boltstore.Options{})
}

func closeStore(s session.Store) error {
	if s == nil {
		return nil
	}
	return s.Close()
}

// finish closes the protocols, when all connections have ended.
func (d *daemon) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	for _, f := range slices.Backward(d.services.closers) {
		if err := f(ctx); err != nil {
			d.log.Error("sessions could not be saved", "err", err)
		}
	}
	d.services.closers = nil
}

// finishTime is the limit for what is left to do when all connections have ended.
const finishTime = 5 * time.Second

// exposed reports endpoints of shells that would be open to strangers.
func (c *config) exposed(bad *faults) {
	for _, e := range c.Endpoints {
		if e.Service != shellService && e.Service != adminService {
			continue
		}
		if err := access.CheckListen(e.Addr.Network, e.Addr.Address, c.Access.listen(e, c)); err != nil {
			*bad = append(*bad, fmt.Errorf("--listen %q: %w", e, err))
		}
	}
}
