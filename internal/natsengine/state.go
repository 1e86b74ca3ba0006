package natsengine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Times between two checks, in which the engine is degraded or ready.
const (
	degradedInterval = 100 * time.Millisecond
	readyInterval    = 5 * time.Second
	checkTimeout     = 3 * time.Second
)

// Degraded returns why JetStream cannot be used now, or nil.
func (e *Engine) Degraded() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reason
}

// Nodes returns how many nodes are connected, with this one; 0 with external servers.
func (e *Engine) Nodes() int {
	if e.server == nil {
		return 0
	}
	return e.server.nodes()
}

// monitor checks the engine until it is closed.
func (e *Engine) monitor() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-timer.C:
		case <-e.wake:
		}
		err := e.check()
		if e.ctx.Err() != nil {
			return
		}
		e.setReason(err)
		if err != nil {
			timer.Reset(degradedInterval)
		} else {
			timer.Reset(readyInterval)
		}
	}
}

func (e *Engine) setReason(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reason = err
}

func (e *Engine) check() error {
	if failure := e.log.failure(); failure != "" {
		return fmt.Errorf("the store of the embedded NATS server has failed: free disk space and restart the node: %s", failure)
	}
	if e.server != nil {
		if err := e.server.health(); err != nil {
			if last := e.log.lastError(); last != "" {
				err = fmt.Errorf("%w; last error of nats-server: %s", err, last)
			}
			return err
		}
		e.log.forgetError()
	}
	if !e.conn.IsConnected() {
		e.mu.Lock()
		err := e.connErr
		e.mu.Unlock()
		if err == nil {
			err = errors.New("connecting")
		}
		return fmt.Errorf("no connection to NATS: %w", err)
	}
	if e.server != nil {
		return nil
	}
	return e.checkJetStream()
}

// checkJetStream checks that an external server provides JetStream.
func (e *Engine) checkJetStream() error {
	js, err := jetstream.New(e.conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, checkTimeout)
	defer cancel()
	_, err = js.AccountInfo(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the NATS server %s has no JetStream for this account: %w", e.conn.ConnectedUrlRedacted(), err)
	}
	return fmt.Errorf("JetStream of %s does not answer: %w", e.conn.ConnectedUrlRedacted(), err)
}
