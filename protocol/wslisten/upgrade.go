package wslisten

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"goranch/internal/websock"
	"goranch/transport"
)

// bodyTime limits how long net/http reads the body of a refused request.
const bodyTime = time.Second

// ServeHTTP serves a request for an upgrade. It returns when the WebSocket is open, or the request
// was refused.
func (t *Transport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // net/http would wait for the body when this request has been answered
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		refuse(w, http.StatusRequestEntityTooLarge, errors.New("a body is not allowed"))
		return
	}
	err := t.policy.CheckHost(r)
	if err == nil {
		err = t.policy.CheckOrigin(r)
	}
	var value any
	if err == nil {
		value, err = t.opts.Authorize(r)
	}
	switch {
	case errors.Is(err, ErrUnauthenticated):
		refuse(w, http.StatusUnauthorized, err)
		return
	case err != nil:
		refuse(w, http.StatusForbidden, err)
		return
	}
	c := newConn(t, r, value)
	err = errNoListener
	if l := t.listener(); l != nil {
		err = l.offer(r.Context(), c)
	}
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	c.answer(w, r)
}

// refuse answers with an error as JSON.
func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// admission connects the goroutine of a request with that of its connection, until the WebSocket is
// open.
type admission struct {
	proceed  chan struct{} // closed by the connection: the request is to be answered
	refused  chan struct{} // closed by the connection when it is closed
	answered chan struct{} // closed by the request when err and conn.nc are set
	err      error
}

// answer waits for the decision of the listener and answers the request.
func (c *conn) answer(w http.ResponseWriter, r *http.Request) {
	a := c.admission
	select {
	case <-a.proceed:
	case <-a.refused:
		refuse(w, http.StatusServiceUnavailable, errNotAdmitted)
		return
	case <-r.Context().Done():
		c.opened(nil, fmt.Errorf("the request has ended: %w", context.Cause(r.Context())))
		return
	}
	var nc net.Conn
	ws, err := websock.Upgrade(w, r, c.t.opts.Subprotocols, func(hijacked net.Conn) net.Conn {
		nc = hijacked
		return detached{hijacked}
	})
	if err == nil {
		c.subprotocol = ws.Subprotocol()
		nc.SetDeadline(time.Time{}) // of net/http
	}
	c.opened(nc, err)
}

// detached is the connection as the WebSocket of package websocket sees it, which is used only for
// the answer: it must not close the connection when it is collected.
type detached struct{ net.Conn }

func (detached) Close() error { return nil }

// opened ends the admission: nc is open, or err says why not.
func (c *conn) opened(nc net.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.admission.err = err
	if err == nil {
		c.nc = nc
		c.limit = c.t.opts.WriteTimeout
		if c.limit == 0 && transport.Of(nc) == nil {
			c.limit = 10 * time.Second
		}
		nc.SetReadDeadline(c.readDeadline)
		nc.SetWriteDeadline(c.writeDeadline)
		if c.closed {
			nc.Close()
		} else if d := c.t.opts.KeepAlive; d > 0 {
			c.pings = time.AfterFunc(d, c.checkAlive)
		}
	}
	close(c.admission.answered)
}

// upgrade lets the goroutine of the request answer, and waits for it. It is called by the goroutine
// of the connection.
func (c *conn) upgrade(ctx context.Context) error {
	close(c.admission.proceed)
	select {
	case <-c.admission.answered:
		return c.admission.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// newConn returns the connection for a request. Its addresses are those of the request.
func newConn(t *Transport, r *http.Request, value any) *conn {
	c := &conn{t: t, remote: addr(r.RemoteAddr), local: addr(r.Host), tls: r.TLS, value: value}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.remote = net.TCPAddrFromAddrPort(ap)
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		c.local = local
	}
	c.in.max = t.opts.MaxMessage
	c.admission = &admission{proceed: make(chan struct{}), refused: make(chan struct{}), answered: make(chan struct{})}
	return c
}
