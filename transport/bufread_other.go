//go:build !unix

package transport

import (
	"goranch/internal/engine"
	"goranch/internal/idle"
)

func (c *Conn) rawReader(*idle.InlinePolicy) engine.PooledReader { return nil }

func (c *Conn) tryNext(*idle.Lead, int) ([]byte, bool, error) {
	return nil, false, idle.ErrNeedsGoroutine
}

func (c *Conn) discard() bool { return false }
