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
// request; Shutdown alone would close them although it is on its way, or drop it unanswered. Then
// Shutdown ends the rest: clients that have sent nothing, and HTTP/2 by GOAWAY.
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
