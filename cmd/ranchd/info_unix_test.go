//go:build unix

package main

import (
	"io"
	"syscall"
	"testing"

	"goranch/transport"
)

func TestMaxConnections(t *testing.T) {
	p := startProgram(t, "--listen", "127.0.0.1:0", "--max-connections", "1", "--acceptors", "3")
	addr := p.log.addr(t, "echo-tcp")
	first := dial(t, transport.TCP{}, addr)
	checkEcho(t, first)
	second := dial(t, transport.TCP{}, addr)
	io.WriteString(second, "x")
	p.log.event(t, "serving", nil) // listeners are complete now
	p.signals <- syscall.SIGUSR1
	p.log.event(t, "listener info", map[string]any{"active": 1.0, "accepted": 1.0, "max": "1"})
	first.Close()
	if _, err := io.ReadFull(second, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestInfo(t *testing.T) {
	p := startProgram(t, "--listen", "a=127.0.0.1:0", "--listen", "b=127.0.0.1:0", "--max-connections", "unlimited")
	nc := dial(t, transport.TCP{}, p.log.addr(t, "a"))
	checkEcho(t, nc)
	nc.Close()
	p.log.event(t, "connection ended", map[string]any{"listener": "a"})
	p.log.event(t, "serving", nil) // listeners are complete now
	p.signals <- syscall.SIGUSR1
	e := p.log.event(t, "listener info", map[string]any{"listener": "a", "status": "running", "accepted": 1.0, "served": 1.0, "max": "unlimited"})
	if reasons, _ := e["reasons"].(map[string]any); reasons["finished"] != 1.0 {
		t.Errorf("reasons: got %v, want finished=1", e["reasons"])
	}
	p.log.event(t, "listener info", map[string]any{"listener": "b", "accepted": 0.0})
}
