package netlisten

import (
	"context"
	"sync"
	"time"
)

// requestGrace is the time in which clients that are connected may still send a request.
const requestGrace = time.Second

// StopHTTP returns an [Options].Stop that shuts down a *http.Server. Idle connections are closed at
// once, and connections with a request when it is answered. New connections have one second to send
// a request, which Shutdown alone would drop. Then the function calls Shutdown, exactly once:
// HTTP/2 connections end by GOAWAY, connections without a request when they are five seconds old,
// RegisterOnShutdown functions run, also those for hijacked connections, and Serve returns
// [net/http.ErrServerClosed]. Do not call Shutdown as well; call [Listener.Shutdown] when the ranch
// listener has stopped.
func StopHTTP(srv interface {
	SetKeepAlivesEnabled(bool)
	Shutdown(context.Context) error
}) func(ctx context.Context) {
	var once sync.Once
	return func(ctx context.Context) {
		once.Do(func() {
			srv.SetKeepAlivesEnabled(false)
			grace := time.NewTimer(requestGrace)
			defer grace.Stop()
			select {
			case <-ctx.Done(): // no connection is left: Shutdown returns at once
			case <-grace.C:
			}
			srv.Shutdown(ctx)
		})
	}
}
