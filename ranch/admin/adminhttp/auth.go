package adminhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"goranch/internal/remoteip"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/transport"
)

type clientKey struct{}

// client is the client of a connection.
type client struct {
	conn *transport.Conn
	once sync.Once
	user shell.User // by the connection, once authenticated
	err  error
}

// authTime limits Options.Authenticate and Options.Token.
const authTime = 10 * time.Second

// authenticate identifies the client by its connection, once.
func (c *client) authenticate(h *Handler) (shell.User, error) {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(h.ctx, authTime)
		defer cancel()
		c.user, c.err = h.opts.Authenticate(ctx, c.conn)
	})
	return c.user, c.err
}

// request is a request whose client is known.
type request struct {
	*http.Request
	conn    *transport.Conn
	user    shell.User
	token   string    // that the user was identified by; "" is none
	expires time.Time // of the login; zero: no end
}

// Errors of authentication, with the status of the answer.
var (
	errNoContext    = errors.New("the HTTP server does not use the ConnContext of the handler")
	errUnauthorized = errors.New("send a token as \"Authorization: Bearer TOKEN\", or open a link with a ticket")
)

// identify returns the request with its user. Without an error the status is 0.
func (h *Handler) identify(r *http.Request) (*request, int, error) {
	c, ok := r.Context().Value(clientKey{}).(*client)
	if !ok {
		return nil, http.StatusInternalServerError, errNoContext
	}
	user, err := c.authenticate(h)
	if err != nil {
		return nil, http.StatusForbidden, err
	}
	req := &request{Request: r, conn: c.conn, user: user}
	token, given, err := bearer(r)
	if err != nil {
		return nil, http.StatusUnauthorized, err
	}
	if !given {
		return req, 0, nil
	}
	req.token = token
	if isLogin(token) {
		req.user, req.expires, err = h.logins.find(token)
	} else if h.opts.Token == nil {
		err = fmt.Errorf("%w: the token is not valid", access.ErrDenied)
	} else {
		ctx, cancel := context.WithTimeout(r.Context(), authTime)
		defer cancel()
		req.user, err = h.opts.Token(ctx, c.conn, token)
	}
	switch {
	case err == nil:
		return req, 0, nil
	case errors.Is(err, access.ErrDenied):
		return nil, http.StatusUnauthorized, err
	}
	return nil, http.StatusTooManyRequests, err
}

// bearer returns the token of a request.
func bearer(r *http.Request) (token string, given bool, err error) {
	value := r.Header.Get("Authorization")
	if value == "" {
		return "", false, nil
	}
	scheme, token, _ := strings.Cut(value, " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false, errors.New("header Authorization: allowed is \"Bearer TOKEN\"")
	}
	return token, true, nil
}

// clientName is the name by which a client's streams are counted: that of its user, or its address.
func (r *request) clientName() string {
	if r.token != "" {
		return r.user.Name
	}
	if ip := remoteip.Key(r.conn.RemoteAddr()); ip.IsValid() {
		if _, secure := r.conn.TLS(); !secure {
			return ip.String()
		}
	}
	return r.user.Name
}

// refuseUnknown answers that a request without a token is not permitted, for the reason err.
func refuseUnknown(w http.ResponseWriter, err error) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	refuse(w, http.StatusUnauthorized, fmt.Errorf("%w; %w", err, errUnauthorized))
}

// withRole wraps a handler with the checks of origin, credentials and role.
func (h *Handler) withRole(role shell.Role, serve func(http.ResponseWriter, *request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h.checkOrigin(r); err != nil {
			refuse(w, http.StatusForbidden, err)
			return
		}
		if r.Method == http.MethodPost {
			if err := checkContentType(r); err != nil {
				refuse(w, http.StatusUnsupportedMediaType, err)
				return
			}
		}
		req, status, err := h.identify(r)
		if err == nil && req.user.Role < role {
			status, err = http.StatusForbidden, fmt.Errorf("this requires the role %s; your role is %s", role, req.user.Role)
			if req.token == "" {
				refuseUnknown(w, err)
				return
			}
		}
		switch status {
		case 0:
			serve(w, req)
			return
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "5")
		}
		refuse(w, status, err)
	}
}
