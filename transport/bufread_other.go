//go:build !unix

package transport

import "goranch/internal/engine"

func (c *Conn) rawReader() engine.PooledReader { return nil }

func (c *Conn) discard() bool { return false }
