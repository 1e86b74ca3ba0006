package netlisten

import (
	"context"
	"time"
)

// requestGrace is the time in which clients that are connected may still send a request.
const requestGrace = time.Second

// StopHTTP returns a stop function for [New] that shuts down a *http.Server. Idle connections are
// closed at once, and connections with a request when it is answered. New connections have one
// second to send a request; Shutdown alone would drop it. Then Shutdown ends HTTP/2 connections by
// GOAWAY, and connections without a request when they are five seconds old. Hijacked connections
// are notified by RegisterOnShutdown only.
//
// Shutdown is not called if all connections end before. Call it after the listener has stopped: it
// makes Serve return [net/http.ErrServerClosed].
func StopHTTP(srv interface {
	SetKeepAlivesEnabled(bool)
	Shutdown(context.Context) error
}) func(ctx context.Context) {
	return func(ctx context.Context) {
		srv.SetKeepAlivesEnabled(false)
		grace := time.NewTimer(requestGrace)
		defer grace.Stop()
		select {
		case <-ctx.Done():
		case <-grace.C:
			srv.Shutdown(ctx)
		}
	}
}
