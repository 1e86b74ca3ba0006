package netlisten

import (
	"context"
	"time"
)

// HTTPServer is what [StopHTTP] needs of a *http.Server.
type HTTPServer interface {
	SetKeepAlivesEnabled(bool)
	Shutdown(context.Context) error
}

// lastRequests is how long clients that are connected have to send what they came for.
const lastRequests = time.Second

// StopHTTP returns what [New] needs to stop a *http.Server in order.
//
// At once, connections between two requests are closed, and those with a request end when
// it is answered. Connections that have just been accepted have a second for their
// request; Shutdown alone would drop it unanswered. Then Shutdown ends the rest: HTTP/2 by
// GOAWAY, and clients that have sent nothing once they are five seconds old. Connections
// that a handler has hijacked, WebSockets for one, are told by the server's RegisterOnShutdown
// only; they, and whatever else is left, are closed at the listener's shutdown limit.
//
// Shutdown is not called if all connections have ended before: call it after the listener
// of goranch was stopped, which makes Serve return [net/http.ErrServerClosed].
func StopHTTP(srv HTTPServer) func(ctx context.Context) {
	return func(ctx context.Context) {
		srv.SetKeepAlivesEnabled(false)
		grace := time.NewTimer(lastRequests)
		defer grace.Stop()
		select {
		case <-ctx.Done():
		case <-grace.C:
			srv.Shutdown(ctx)
		}
	}
}
