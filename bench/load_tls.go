package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/loadgen"
)

// tlsClient is one connection of the TLS generator.
type tlsClient struct {
	tcp *net.TCPConn
	*tls.Conn
}

// dialTLS connects from the i-th source address and completes the handshake.
func dialTLS(cfg loadConfig, conf *tls.Config, i int) (tlsClient, error) {
	src := loadgen.SourceAddr(i, clientsPerIP)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: src[:]}, Timeout: 10 * time.Second, KeepAlive: -1}
	nc, err := d.Dial("tcp", cfg.addr.String())
	if err != nil {
		return tlsClient{}, err
	}
	tcp := nc.(*net.TCPConn)
	c := tlsClient{tcp, tls.Client(tcp, conf)}
	tcp.SetDeadline(time.Now().Add(30 * time.Second))
	if err := c.Handshake(); err != nil {
		tcp.Close()
		return tlsClient{}, fmt.Errorf("handshake: %w", err)
	}
	tcp.SetDeadline(time.Time{})
	return c, nil
}

func (c tlsClient) echo(payload, buf []byte) error {
	if _, err := c.Write(payload); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if !bytes.Equal(buf, payload) {
		return errWrongAnswer
	}
	return nil
}

// abort resets the connection, so that no port stays in TIME_WAIT.
func (c tlsClient) abort() {
	c.tcp.SetLinger(0)
	c.tcp.Close()
}

// openTLS opens n connections and exchanges one request on each, as openEcho does. At most 32
// handshakes are in progress at a time.
func openTLS(cfg loadConfig, n int) ([]tlsClient, error) {
	conns := make([]tlsClient, n)
	errs := make([]error, n)
	conf, payload := clientTLS(), cfg.payload()
	slots := make(chan struct{}, 32)
	var wg sync.WaitGroup
	for i := range conns {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if conns[i], errs[i] = dialTLS(cfg, conf, i); errs[i] == nil {
				errs[i] = conns[i].echo(payload, make([]byte, cfg.size))
			}
		})
	}
	wg.Wait()
	return conns, errors.Join(errs...)
}

// loadTLSEcho keeps one request in flight on each connection.
func loadTLSEcho(cfg loadConfig) error {
	conns, err := openTLS(cfg, cfg.conns)
	if err != nil {
		return err
	}
	payload := cfg.payload()
	return runWorkers(cfg, func(ctx context.Context, worker int, ops *atomic.Int64) error {
		buf := make([]byte, cfg.size)
		for ctx.Err() == nil {
			if err := conns[worker].echo(payload, buf); err != nil {
				return err
			}
			ops.Add(1)
		}
		return nil
	})
}

// loadTLSChurn repeats on each worker: a full handshake, one echo, a reset.
func loadTLSChurn(cfg loadConfig) error {
	payload, conf := cfg.payload(), clientTLS()
	return runWorkers(cfg, func(ctx context.Context, worker int, ops *atomic.Int64) error {
		buf := make([]byte, cfg.size)
		for i := worker; ctx.Err() == nil; i += cfg.conns {
			c, err := dialTLS(cfg, conf, i)
			if err != nil {
				return err
			}
			err = c.echo(payload, buf)
			c.abort()
			if err != nil {
				return err
			}
			ops.Add(1)
		}
		return nil
	})
}

// runWorkers runs one worker per connection through warm-up and window and sends the result.
func runWorkers(cfg loadConfig, work func(ctx context.Context, worker int, ops *atomic.Int64) error) error {
	var ops atomic.Int64
	failed := make(chan error, cfg.conns)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range cfg.conns {
		go func() {
			if err := work(ctx, i, &ops); err != nil {
				failed <- err
			}
		}()
	}
	var ends [2]mark
	for i, pause := range []time.Duration{cfg.warmup, cfg.duration} {
		select {
		case err := <-failed:
			return err
		case <-time.After(pause):
		}
		var err error
		if ends[i], err = takeMark(cfg.serverPID, ops.Load()); err != nil {
			return err
		}
	}
	result, err := ends[0].until(ends[1])
	if err != nil {
		return err
	}
	return cfg.send(result)
}
