// Package natsengine provides the NATS servers of a cluster: a nats-server in this process,
// connected by routes to those of the other nodes, or connections to external servers.
//
//	e, err := natsengine.Start(natsengine.Options{Name: "a", Store: "/var/lib/ranchd/cluster"})
//	if err != nil {
//		return err
//	}
//	defer e.Close()
//	b, err := natsbroker.New(natsbroker.Options{URL: e.URL(), NATS: e.NATS()})
//
// The build tag noengine excludes nats-server from the program.
package natsengine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNotBuilt is returned by [Start] without Options.URLs in a program that was built without
// nats-server.
var ErrNotBuilt = errors.New("this program was built without an embedded NATS server (build tag noengine)")

// Built reports whether nats-server is part of the program.
const Built = built

// Options are the settings of an [Engine]. With URLs it connects to external servers; otherwise it
// starts a nats-server.
type Options struct {
	// Name is the name of the node, up to 64 letters, digits and . _ -. Each node needs a
	// different one.
	Name string
	// TLS is for the connections between nodes, or to the external servers. nil is no TLS; external
	// servers can still require it.
	TLS *tls.Config

	// URLs are the addresses of external servers, such as nats://10.0.0.1:4222.
	URLs []string
	// Credentials is the name of a file with a JWT and the seed of its key, which is read at each
	// connection. "" is none.
	Credentials string

	// Listen is the address, host:port, for the connections of other nodes. "" is none: the cluster
	// has one node.
	Listen string
	// Peers are the addresses of the other nodes, and may contain that of this one.
	Peers []string
	// Secret authenticates the nodes to each other; all have the same one. "" is no authentication.
	Secret string
	// Store is the directory for streams and their consensus. Its parent must exist. No other
	// process may use it.
	Store string
	// SyncInterval is the time between two calls of fsync. 0 is 2 minutes; negative values call
	// fsync before each acknowledgement.
	SyncInterval time.Duration

	// Logger receives what nats-server and the connection report, escaped and limited. nil is
	// slog.Default().
	Logger *slog.Logger
}

// Engine is a connection to NATS, with the server if that is embedded. Its methods may be called
// from any goroutine.
type Engine struct {
	opts   Options
	server embedded // nil: external servers
	log    *serverLog
	conn   *nats.Conn

	mu      sync.Mutex
	reason  error // nil: ready
	connErr error // of the last attempt to connect

	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// embedded is a nats-server in this process.
type embedded interface {
	// options are for connections of the node of that name.
	options(name string) []nats.Option
	// health returns why JetStream cannot be used, or nil.
	health() error
	// nodes returns the number of connected nodes, with this one.
	nodes() int
	stop()
}

// errStarting is the reason until the first check.
var errStarting = errors.New("starting")

// Start starts the server, or begins to connect. It waits neither for other nodes nor for external
// servers: until they answer, the engine is degraded. The error is about the options, the
// directory, or the address.
func Start(o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	e := &Engine{opts: o, reason: errStarting, wake: make(chan struct{}, 1), log: newServerLog(o.Logger, secretOf(o.Secret))}
	e.log.onBroken = e.checkSoon
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if len(o.URLs) == 0 {
		s, err := startServer(o, e.log)
		if err != nil {
			e.cancel()
			return nil, err
		}
		e.server = s
	}
	conn, err := nats.Connect(e.URL(), append(e.connectOptions(), e.NATS()...)...)
	if err != nil {
		e.cancel()
		if e.server != nil {
			e.server.stop()
		}
		return nil, fmt.Errorf("NATS: %w", err)
	}
	e.conn = conn
	e.done.Go(e.monitor)
	return e, nil
}

// Embedded reports whether the server is in this process.
func (e *Engine) Embedded() bool { return e.server != nil }

// Conn returns a connection that reconnects without a limit. The engine closes it.
func (e *Engine) Conn() *nats.Conn { return e.conn }

// URL returns the address for further connections.
func (e *Engine) URL() string { return strings.Join(e.opts.URLs, ",") }

// NATS returns options for further connections. They set neither callbacks nor reconnection.
func (e *Engine) NATS() []nats.Option {
	if e.server != nil {
		return e.server.options(e.opts.Name)
	}
	var all []nats.Option
	if e.opts.Credentials != "" {
		all = append(all, nats.UserCredentials(e.opts.Credentials))
	}
	if e.opts.TLS != nil {
		all = append(all, nats.Secure(e.opts.TLS))
	}
	return all
}

// connectOptions are those of Conn.
func (e *Engine) connectOptions() []nats.Option {
	return []nats.Option{
		nats.Name("ranchd " + e.opts.Name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), nats.Timeout(5 * time.Second), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ConnectHandler(func(*nats.Conn) { e.setConnError(nil) }),
		nats.ReconnectHandler(func(*nats.Conn) { e.setConnError(nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { e.setConnError(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { e.setConnError(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			e.log.print(slog.LevelWarn, fmt.Sprintf("connection: %s %v", subject, err))
		}),
	}
}

// setConnError records the error of the connection; nil means that it is connected.
func (e *Engine) setConnError(err error) {
	e.mu.Lock()
	e.connErr = err
	e.mu.Unlock()
	e.checkSoon()
}

// checkSoon makes the monitor check the state.
func (e *Engine) checkSoon() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// reconnectDelay returns the time before an attempt to reconnect; attempts counts rounds over all
// servers. Half of it is random, so that the nodes do not connect at the same time.
func reconnectDelay(attempts int) time.Duration {
	d := min(100*time.Millisecond<<min(attempts/2, 6), 4*time.Second)
	return d/2 + rand.N(d/2)
}

// Close closes the connection, and stops the server. Close their users first.
func (e *Engine) Close() {
	e.cancel()
	e.conn.Close()
	e.done.Wait()
	if e.server != nil {
		e.server.stop()
	}
	e.log.flush()
}
