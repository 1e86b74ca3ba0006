// Package adminhttp serves the state of a server and the commands of its operators over HTTP: to
// probes, scrapers, scripts, and people with a browser.
//
//	h, err := adminhttp.New(adminhttp.Options{
//		Server:   server,
//		Commands: admin.Commands(admin.Options{Server: server}),
//		Audit:    admin.Audit(logger),
//	})
//	…
//	server.StartListener("admin-http", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:8084"}, h)
//
// "/" is the dashboard, "/livez" and "/readyz" are for probes, "/metrics" is a handler of the
// program, "/events" is a stream of server-sent events, and "/debug/pprof/" has profiles. Each
// command is served as JSON: all of them by POST at "/commands/NAME", and those that change nothing
// by GET at "/NAME" too, such as "/status", "/connections?filter=idle>30s&limit=10" and
// "/sources?limit=5". "/openapi.json" describes all of it.
//
// # Access
//
// Clients have the roles of the shell. [Options].Authenticate identifies a connection, by a client
// certificate or as the user of a Unix socket, and the token of a header "Authorization: Bearer" a
// request. [Handler.Ticket] makes a link by which a browser logs in once. Without any of these a
// client on the same machine is a viewer, and another may only use the probes.
//
// Requests that name a host which is not this server (DNS rebinding), and requests that pages of
// other sites make, are refused, so that a page cannot use what identifies a connection.
package adminhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"goranch/protocol"
	"goranch/protocol/netlisten"
	"goranch/transport"
)

// errShutdown ends streams and commands when the handler is closed.
var errShutdown = errors.New("the server is shutting down")

// Handler is an [http.Handler] that is also a protocol: a ranch listener can serve it without
// another HTTP server. A handler whose listener has stopped cannot be served again. Its methods may
// be called from any goroutine.
type Handler struct {
	opts    Options
	routes  []route
	mux     *http.ServeMux
	openAPI []byte
	logins  logins
	hub     hub

	ctx  context.Context // ends with Close, or when the listener stops
	stop context.CancelCauseFunc

	// The HTTP server behind Serve.
	listener *netlisten.Listener
	server   *http.Server
	start    sync.Once
	served   sync.WaitGroup
}

// Interfaces of package ranch and of packages below it that a Handler has as a protocol.
var (
	_ protocol.Protocol = (*Handler)(nil)
	_ protocol.Drainer  = (*Handler)(nil)
	_ protocol.Refuser  = (*Handler)(nil)
)

// New returns a handler. The error joins all faults of the options.
func New(opts Options) (*Handler, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	h := &Handler{opts: opts.withDefaults(), mux: http.NewServeMux()}
	h.ctx, h.stop = context.WithCancelCause(context.Background())
	h.hub.init(h)
	h.addRoutes()
	var err error
	if h.openAPI, err = h.describe(); err != nil {
		return nil, err
	}
	h.server = h.newServer()
	stopHTTP := netlisten.StopHTTP(h.server)
	h.listener = netlisten.New(netlisten.Options{
		Stop: func(ctx context.Context) {
			h.stop(errShutdown)
			stopHTTP(ctx)
		},
		Refuse: netlisten.RefuseHTTP,
	})
	return h, nil
}

// Limits of HTTP connections.
const (
	headerTimeout  = 10 * time.Second // to receive the header of a request
	requestTimeout = 20 * time.Second // to receive a request
	idleTimeout    = 2 * time.Minute  // between two requests
	writeTimeout   = 30 * time.Second // for one write of a stream, and for other answers as a whole
	maxHeader      = 12 << 10         // net/http adds 4 KiB
)

func (h *Handler) newServer() *http.Server {
	return &http.Server{
		Handler: h, ConnContext: h.ConnContext, ErrorLog: h.errorLog(),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
}

// Serve serves HTTP/1.1 on one connection of a ranch listener, with time limits and a limit for
// headers.
func (h *Handler) Serve(ctx context.Context, conn *transport.Conn) error {
	h.start.Do(func() {
		h.served.Go(func() { h.server.Serve(h.listener) }) // returns after Shutdown
	})
	return h.listener.Serve(ctx, conn)
}

// Refuse implements [protocol.Refuser]: the answer is the status 503.
func (h *Handler) Refuse(ctx context.Context, conn *transport.Conn, cause error) {
	h.listener.Refuse(ctx, conn, cause)
}

// DrainsItself implements [protocol.Drainer].
func (h *Handler) DrainsItself() {}

// Name returns the name of the protocol.
func (h *Handler) Name() string { return "admin-http" }

// Close ends event streams and commands in progress. Call it after the listeners of the handler
// have stopped, and before the Shutdown of another HTTP server that serves the handler. The error
// is the cause of ctx if requests are still in progress.
func (h *Handler) Close(ctx context.Context) error {
	h.stop(errShutdown)
	h.listener.Shutdown(ctx)
	h.listener.Close()
	done := make(chan struct{})
	go func() {
		h.served.Wait()
		h.hub.wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ConnContext is for the field of the same name of an [http.Server] that serves the handler on a
// listener of its own. Client certificates are recognized only on a ranch listener with
// transport.TLS.
func (h *Handler) ConnContext(ctx context.Context, nc net.Conn) context.Context {
	conn := transport.Of(nc)
	if conn == nil {
		conn = transport.NewConn(transport.TCP{}, nc) // for its addresses and credentials
	}
	return context.WithValue(ctx, clientKey{}, &client{conn: conn})
}

// ServeHTTP serves one request. It returns when the command or the stream has ended.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSecurityHeaders(w.Header())
	rc := http.NewResponseController(w)
	rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // net/http keeps that of the previous request
	if err := h.checkHost(r); err != nil {
		refuse(w, http.StatusForbidden, err)
		return
	}
	switch {
	case r.Method != http.MethodPost && r.ContentLength != 0:
		refuseBody(w, rc, http.StatusRequestEntityTooLarge, errors.New("only a POST may have a body"))
		return
	case r.ContentLength > int64(h.opts.MaxBody):
		refuseBody(w, rc, http.StatusRequestEntityTooLarge, fmt.Errorf("the body exceeds %d bytes", h.opts.MaxBody))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, int64(h.opts.MaxBody))
	h.mux.ServeHTTP(w, r)
}
