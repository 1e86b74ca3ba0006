package main

import (
	"fmt"
	"syscall"
	"time"
)

// warmConns are opened and closed before memory is counted, so that what a server sets up once is not charged to the
// connections.
const warmConns = 300

// phase is said when the generator has reached a state and waits for the orchestrator.
type phase struct {
	Phase string `json:"phase"`
}

// silence is a number of connections that echoed once and are now idle.
type silence interface {
	check(cfg loadConfig) error // each must still echo
	end()
}

// loadIdle opens connections that echo once and then stay silent while the orchestrator looks at the server. In the
// end each must echo again: a server that dropped them would have needed no memory.
func loadIdle(cfg loadConfig) error {
	warm, err := openSilence(cfg, warmConns)
	if err != nil {
		return err
	}
	warm.end()
	if err := sayAndWait(cfg, "warm"); err != nil {
		return err
	}
	idle, err := openSilence(cfg, cfg.conns)
	if err != nil {
		return err
	}
	if err := sayAndWait(cfg, "open"); err != nil {
		return err
	}
	if err := idle.check(cfg); err != nil {
		return fmt.Errorf("echo after the silence: %w", err)
	}
	return cfg.say(phase{"alive"})
}

func sayAndWait(cfg loadConfig, name string) error {
	if err := cfg.say(phase{name}); err != nil {
		return err
	}
	return cfg.next()
}

func openSilence(cfg loadConfig, n int) (silence, error) {
	if cfg.tls {
		conns, err := openTLS(cfg, n)
		return tlsSilence(conns), err
	}
	conns, err := openEchoed(cfg, n)
	return plainSilence(conns), err
}

type plainSilence []exchange

func (s plainSilence) end() {
	for i := range s {
		syscall.Close(s[i].fd)
	}
}

func (s plainSilence) check(cfg loadConfig) error { return echoAgain(cfg, s) }

type tlsSilence []tlsClient

func (s tlsSilence) end() {
	for _, c := range s {
		c.abort()
	}
}

func (s tlsSilence) check(cfg loadConfig) error {
	payload, buf := cfg.payload(), make([]byte, cfg.size)
	for i, c := range s {
		c.tcp.SetDeadline(time.Now().Add(5 * time.Second))
		if err := c.echo(payload, buf); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, len(s), err)
		}
	}
	return nil
}
