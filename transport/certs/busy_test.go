package certs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goranch/transport/certs"
)

// The certificate is replaced while 1,000 connections exchange data and new ones arrive. No
// connection is dropped, and new ones get the new certificate.
func TestReloadUnderBusyConnections(t *testing.T) {
	conns := 1000
	if testing.Short() || raceEnabled {
		conns = 200
	}
	d, ca := newDir(t), newAuthority(t, "ca")
	reloads := make(chan error, 10)
	s := open(t, certs.Options{
		Pairs:    []certs.Pair{d.pair(ca, "a", "a.test")},
		Interval: time.Millisecond,
		Notify:   func(err error) { reloads <- err },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	srv := serve(t, s.Config(nil))
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test"}
	busy := newBusyClients(t, srv, c, conns)

	start := time.Now()
	const replacements = 5
	for range replacements {
		before := busy.rounds.Load()
		cert, key := ca.server(t, "a.test")
		d.write("a.key", key) // separately: for a moment the files do not match
		d.write("a.crt", cert)
		for awaitReload(t, reloads); served(t, srv, c) != fileSum(cert); {
			awaitReload(t, reloads)
		}
		busy.await(t, before+int64(conns)) // the connections are busy all the time
	}
	took := time.Since(start)
	dropped := busy.stop(t)
	t.Logf("%d replacements in %v under %d connections: %d echoes of 1,000 bytes, %d dropped connections",
		replacements, took.Round(time.Millisecond), conns, busy.rounds.Load(), dropped)
}

// awaitReload waits for the next successful reload. Files that do not match are reported before it.
func awaitReload(t *testing.T, reloads <-chan error) {
	t.Helper()
	for {
		select {
		case err := <-reloads:
			if err == nil {
				return
			}
		case <-time.After(testTimeout):
			t.Fatal("timeout while waiting for the new files")
		}
	}
}

// busyClients are connections that exchange data until they are stopped.
type busyClients struct {
	rounds  atomic.Int64 // echoes received by all clients
	stopped atomic.Bool
	failed  chan error
	wg      sync.WaitGroup
}

func newBusyClients(t *testing.T, srv *server, c *tls.Config, conns int) *busyClients {
	t.Helper()
	b := &busyClients{failed: make(chan error, conns)}
	clients := make([]*tls.Conn, conns)
	for i := range clients {
		clients[i], _ = srv.mustDial(t, c)
	}
	for i, cli := range clients {
		b.wg.Go(func() { b.run(i, cli) })
	}
	return b
}

func (b *busyClients) run(id int, cli *tls.Conn) {
	msg, got := make([]byte, 1000), make([]byte, 1000)
	rand.Read(msg)
	for n := 0; n < 3 || !b.stopped.Load(); n++ {
		_, err := cli.Write(msg)
		if err == nil {
			_, err = io.ReadFull(cli, got)
		}
		if err == nil && !bytes.Equal(got, msg) {
			err = errors.New("the echo differs")
		}
		if err != nil {
			b.failed <- fmt.Errorf("connection %d, round %d: %w", id, n, err)
			return
		}
		b.rounds.Add(1)
	}
}

// await waits for a number of rounds.
func (b *busyClients) await(t *testing.T, rounds int64) {
	t.Helper()
	for b.rounds.Load() < rounds {
		select {
		case err := <-b.failed:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
}

// stop ends the clients and returns the number of those that have failed.
func (b *busyClients) stop(t *testing.T) (failed int) {
	t.Helper()
	b.stopped.Store(true)
	b.wg.Wait()
	close(b.failed)
	for err := range b.failed {
		failed++
		t.Error(err)
	}
	return failed
}

// served returns the fingerprint of the certificate that a new connection gets.
func served(t *testing.T, srv *server, c *tls.Config) string {
	t.Helper()
	cli, _ := srv.mustDial(t, c)
	sum := sha256.Sum256(cli.ConnectionState().PeerCertificates[0].Raw)
	cli.Close()
	return hex.EncodeToString(sum[:])
}
