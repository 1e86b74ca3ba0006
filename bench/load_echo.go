package main

import (
	"runtime"
	"time"
)

// loadEcho keeps one request in flight on each connection.
func loadEcho(cfg loadConfig) error {
	runtime.LockOSThread()
	e, err := openEcho(cfg, cfg.conns)
	if err != nil {
		return err
	}
	for i := range e.conns {
		if err := e.conns[i].request(e.payload); err != nil {
			return err
		}
	}
	var ops int64
	result, err := driveWindow(cfg, &ops, func() error {
		events, err := e.Wait(50 * time.Millisecond)
		if err != nil {
			return err
		}
		for _, ev := range events {
			x := &e.conns[ev.Fd]
			done, err := x.advance(e.payload, e.answer, e.buf)
			if err == nil && done {
				ops++
				err = x.request(e.payload)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return cfg.send(result)
}
