// Package migrating has the code of docs/migrating.md: servers without goranch and with it.
package migrating

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

func LoopBefore(ctx context.Context, addr string, limit int, serve func(net.Conn)) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	slots := make(chan struct{}, limit)
	live := map[net.Conn]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for ctx.Err() == nil {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		} else if err != nil {
			time.Sleep(50 * time.Millisecond) // no descriptors, for example
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			nc.Close()
			continue
		}
		mu.Lock()
		live[nc] = true
		mu.Unlock()
		wg.Go(func() {
			defer func() {
				nc.Close()
				mu.Lock()
				delete(live, nc)
				mu.Unlock()
				<-slots
			}()
			serve(nc)
		})
	}
	late := time.AfterFunc(5*time.Second, func() {
		mu.Lock()
		defer mu.Unlock()
		for nc := range live {
			nc.Close()
		}
	})
	defer late.Stop()
	wg.Wait()
	return nil
}

func LoopAfter(ctx context.Context, addr string, limit int, serve protocol.Func) error {
	opts := ranch.Options{Addr: addr, MaxConnections: limit}
	if _, err := ranch.StartListener("loop", transport.TCP{}, opts, serve); err != nil {
		return err
	}
	<-ctx.Done()
	return ranch.Drain(context.Background(), "loop")
}
