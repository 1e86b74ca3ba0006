package adminhttp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
)

const (
	ticketPrefix = "ticket_"
	loginPrefix  = "login_"
	maxLogins    = 256 // of tickets and logins each; beyond it the one that expires first is removed
)

// login is a user who may log in, or has logged in.
type login struct {
	user    shell.User
	expires time.Time
}

func (l *login) ended(now time.Time) bool { return !now.Before(l.expires) }

// logins holds tickets, each for one login, and the logins made with them. The keys are hashes of
// 256 random bits, so the time of a look-up says nothing about a secret.
type logins struct {
	mu      sync.Mutex
	tickets map[[sha256.Size]byte]login
	logins  map[[sha256.Size]byte]login
}

// Ticket returns a secret with which one browser can log in once, within valid, as a user: in a
// link "http://host/#ticket=…", whose fragment browsers do not send. It is then worthless, so it
// may remain in the scrollback of a terminal or the history of a browser. The login ends after
// Options.LoginTime.
func (h *Handler) Ticket(user shell.User, valid time.Duration) string {
	h.logins.mu.Lock()
	defer h.logins.mu.Unlock()
	return addSecret(&h.logins.tickets, ticketPrefix, login{user, time.Now().Add(valid)})
}

func addSecret(to *map[[sha256.Size]byte]login, prefix string, l login) string {
	if *to == nil {
		*to = map[[sha256.Size]byte]login{}
	}
	now := time.Now()
	var first [sha256.Size]byte
	for key, other := range *to {
		if other.ended(now) {
			delete(*to, key)
		} else if f, found := (*to)[first]; !found || other.expires.Before(f.expires) {
			first = key
		}
	}
	if len(*to) >= maxLogins {
		delete(*to, first)
	}
	var b [32]byte
	rand.Read(b[:]) // never fails
	secret := prefix + base64.RawURLEncoding.EncodeToString(b[:])
	(*to)[sha256.Sum256([]byte(secret))] = l
	return secret
}

func isLogin(token string) bool {
	return strings.HasPrefix(token, loginPrefix) || strings.HasPrefix(token, ticketPrefix)
}

var errExpired = fmt.Errorf("%w: the login has ended, or the ticket was used or has expired", access.ErrDenied)

// find returns the user who has logged in with a token.
func (ls *logins) find(token string) (shell.User, time.Time, error) {
	key := sha256.Sum256([]byte(token))
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, ok := ls.logins[key]
	if !ok || l.ended(time.Now()) {
		return shell.User{}, time.Time{}, errExpired
	}
	return l.user, l.expires, nil
}

// use turns a ticket into a login.
func (ls *logins) use(ticket string, valid time.Duration) (token string, l login, err error) {
	key := sha256.Sum256([]byte(ticket))
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, ok := ls.tickets[key]
	delete(ls.tickets, key)
	if !ok || l.ended(time.Now()) {
		return "", login{}, errExpired
	}
	l.expires = time.Now().Add(valid)
	return addSecret(&ls.logins, loginPrefix, l), l, nil
}

func (ls *logins) end(token string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.logins, sha256.Sum256([]byte(token)))
}

// loginAnswer describes the user of a request, and the login of one that has just been made.
type loginAnswer struct {
	User    string     `json:"user"`
	Role    string     `json:"role"`
	Token   string     `json:"token,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	Version string     `json:"version"`
}

func (h *Handler) serveLogin(w http.ResponseWriter, r *request) {
	a := loginAnswer{User: r.user.Name, Role: r.user.Role.String(), Version: h.opts.Version}
	if !r.expires.IsZero() {
		a.Expires = &r.expires
	}
	writeJSON(w, http.StatusOK, a)
}

// logIn exchanges a ticket, which is in the body so that it is never mistaken for a token.
func (h *Handler) logIn(w http.ResponseWriter, r *request) {
	var body struct {
		Ticket string `json:"ticket"`
	}
	if !h.readBody(w, r, &body) {
		return
	}
	token, l, err := h.logins.use(body.Ticket, h.opts.LoginTime)
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, err)
		return
	}
	writeJSON(w, http.StatusOK, loginAnswer{
		User: l.user.Name, Role: l.user.Role.String(), Token: token, Expires: &l.expires, Version: h.opts.Version,
	})
}

// logOut ends the login of the request.
func (h *Handler) logOut(w http.ResponseWriter, r *request) {
	h.logins.end(r.token)
	w.WriteHeader(http.StatusNoContent)
}
