package certs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
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
	swapped := make(chan error, 10)
	s := open(t, certs.Options{
		Pairs:    []certs.Pair{d.pair(ca, "a", "a.test")},
		Interval: time.Millisecond,
		Notify:   func(err error) { swapped <- err },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	srv := serve(t, s.Config(nil))
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test"}

	start := time.Now()
	clients := make([]*tls.Conn, conns)
	for i := range clients {
		clients[i], _ = srv.mustDial(t, c)
	}
	t.Logf("%d connections after %v", conns, time.Since(start))

	var rounds, newcomers atomic.Int64
	var stop atomic.Bool
	failed := make(chan error, conns)
	var wg sync.WaitGroup
	for i, cli := range clients {
		wg.Go(func() {
			msg, got := make([]byte, 1000), make([]byte, 1000)
			rand.Read(msg)
			for n := 0; n < 3 || !stop.Load(); n++ {
				_, err := cli.Write(msg)
				if err == nil {
					_, err = io.ReadFull(cli, got)
				}
				if err == nil && !bytes.Equal(got, msg) {
					err = fmt.Errorf("the echo differs")
				}
				if err != nil {
					failed <- fmt.Errorf("connection %d, round %d: %w", i, n, err)
					return
				}
				rounds.Add(1)
			}
		})
	}
	start = time.Now()
	swaps := 0
	for range 5 {
		before := rounds.Load()
		cert, key := ca.server(t, "a.test")
		d.write("a.key", key) // separately: for a moment the files do not match
		d.write("a.crt", cert)
		for {
			var err error
			select {
			case err = <-swapped: // the fault while they do not match, or the replacement
			case <-time.After(testTimeout):
				t.Fatal("timeout while waiting for the new files")
			}
			if err == nil {
				swaps++
				if served(t, srv, c) == fileSum(cert) {
					break
				}
			}
		}
		newcomers.Add(1)
		for rounds.Load() < before+int64(conns) { // the connections are busy all the time
			select {
			case err := <-failed:
				t.Fatal(err)
			case <-time.After(time.Millisecond):
			}
		}
	}
	took := time.Since(start)
	stop.Store(true)
	wg.Wait()
	close(failed)
	dropped := 0
	for err := range failed {
		dropped++
		t.Error(err)
	}
	t.Logf("%d exchanges of the certificate in %v under %d connections: %d echoes of 1,000 bytes, %d dropped, %d new connections with the new certificate",
		swaps, took.Round(time.Millisecond), conns, rounds.Load(), dropped, newcomers.Load())
}

// served returns the fingerprint of the certificate that a new connection gets.
func served(t *testing.T, srv *server, c *tls.Config) string {
	t.Helper()
	cli, _ := srv.mustDial(t, c)
	sum := sha256.Sum256(cli.ConnectionState().PeerCertificates[0].Raw)
	cli.Close()
	return hex.EncodeToString(sum[:])
}
