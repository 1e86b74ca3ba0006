package main

import (
	"fmt"
	"time"
)

// warmConns are opened and closed before memory is read, so that what a server allocates once is
// not charged to the connections.
const warmConns = 300

// phase is sent when the generator has reached a state and waits for the orchestrator.
type phase struct {
	Phase string `json:"phase"`
}

// idleConns are connections that were answered once and are idle.
type idleConns interface {
	check() error // each connection must still echo
	close()
}

// loadIdle opens connections that echo once and are then idle while the orchestrator reads the
// server's memory. At the end each must echo again: a server that closed them would have needed no
// memory.
func loadIdle(cfg loadConfig) error {
	warm, err := openIdle(cfg, warmConns)
	if err != nil {
		return err
	}
	warm.close()
	if err := reachPhase(cfg, "warm"); err != nil {
		return err
	}
	idle, err := openIdle(cfg, cfg.conns)
	if err != nil {
		return err
	}
	if err := reachPhase(cfg, "open"); err != nil {
		return err
	}
	if err := idle.check(); err != nil {
		return fmt.Errorf("echo after the idle time: %w", err)
	}
	return cfg.send(phase{"alive"})
}

// reachPhase reports a phase and waits for the orchestrator.
func reachPhase(cfg loadConfig, name string) error {
	if err := cfg.send(phase{name}); err != nil {
		return err
	}
	return cfg.next()
}

func openIdle(cfg loadConfig, n int) (idleConns, error) {
	if cfg.tls {
		conns, err := openTLS(cfg, n)
		return idleTLS{cfg, conns}, err
	}
	return openEcho(cfg, n)
}

type idleTLS struct {
	cfg   loadConfig
	conns []tlsClient
}

func (t idleTLS) close() {
	for _, c := range t.conns {
		c.abort()
	}
}

func (t idleTLS) check() error {
	payload, buf := t.cfg.payload(), make([]byte, t.cfg.size)
	for i, c := range t.conns {
		c.tcp.SetDeadline(time.Now().Add(5 * time.Second))
		if err := c.echo(payload, buf); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, len(t.conns), err)
		}
	}
	return nil
}
