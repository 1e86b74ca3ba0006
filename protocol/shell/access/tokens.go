package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"goranch/internal/attempts"
	"goranch/internal/option"
	"goranch/internal/reload"
	"goranch/protocol/shell"
	"goranch/transport"
)

const (
	minToken = 22   // shortest accepted token in bytes
	maxToken = 1024 // longest accepted token in bytes
)

// TokenOptions are the settings of [Tokens]. The zero value of each field but File is its default.
type TokenOptions struct {
	// File is the token file. Each line has a role, "viewer" or "operator", a name and a hash:
	//
	//	operator deploy sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
	//
	// Empty lines and lines that begin with # are ignored. There are at most 1,000 tokens, with
	// different names and hashes. The file must belong to root or the user of this process, and
	// have mode 0600 or 0640.
	File string
	// Interval is the interval at which Run checks the file. 0 is 10 s; negative never checks it.
	Interval time.Duration
	// Notify is called by Run, in its goroutine, when the file has changed: with nil if the new
	// tokens are in use, otherwise with the fault. Each fault is reported once. nil is none.
	Notify func(error)
	// Free is the number of invalid tokens that an address may present without consequence. After
	// them it has to wait 1 s, doubled by each further one. 0 is 5; negative is none.
	Free int
	// MaxWait is the longest wait. 0 or negative is 5 minutes; values below 1 s are 1 s.
	MaxWait time.Duration
}

// Tokens authenticates clients by tokens from a file of SHA-256 hashes. The tokens cannot be
// recovered from the hashes, because [GenerateToken] makes them of 256 random bits; tokens of fewer
// than 22 bytes are refused even if the file has their hash. Slow password hashes are refused: for
// random tokens they only cost time, for every line and every guess. Removing a token from the file
// does not end sessions that were authenticated by it.
//
// The methods of Tokens are safe for concurrent use. It has no goroutine of its own and need not be
// closed.
type Tokens struct {
	opts     TokenOptions
	current  atomic.Pointer[[]entry]
	attempts *attempts.Table
	files    reload.Files
}

// entry is a line of the file.
type entry struct {
	role shell.Role
	name string
	hash [32]byte
	line int
}

// OpenTokens reads the token file. The error names each invalid line, or is that of the file
// system. A file without tokens is valid.
func OpenTokens(o TokenOptions) (*Tokens, error) {
	if o.File == "" {
		var f option.Faults
		f.Bad("File", `""`, "paths of token files")
		return nil, f.Err()
	}
	t := &Tokens{opts: o, attempts: attempts.New(attempts.Options{Free: o.Free, Max: o.MaxWait})}
	t.files.Read = t.read
	if _, err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Token returns the user for a token that the client of conn has presented. It can be used as
// shell.Options.Token.
//
// Every invalid token gets the same error, which wraps ErrDenied. After some of them every token
// from the client's address is refused with an error that says how long to wait; the wait doubles
// with each further one. A valid token resets the count. Blanks around a token are ignored. Clients
// without an IP address (Unix sockets, in-memory connections) are not limited.
func (t *Tokens) Token(_ context.Context, conn *transport.Conn, token string) (shell.User, error) {
	return t.Check(conn.RemoteAddr(), token)
}

// Check is like Token for a client at addr that has no transport.Conn.
func (t *Tokens) Check(addr net.Addr, token string) (shell.User, error) {
	if wait, ok := t.attempts.Allow(addr); !ok {
		return shell.User{}, &waitError{wait}
	}
	user, ok := t.find(token)
	if !ok {
		t.attempts.Fail(addr)
		return shell.User{}, errInvalidToken
	}
	t.attempts.Succeed(addr)
	return user, nil
}

var errInvalidToken = fmt.Errorf("%w: the token is not valid", ErrDenied)

// find compares the hash of the token with every entry, so that its time does not depend on the
// token.
func (t *Tokens) find(token string) (shell.User, bool) {
	token = strings.TrimSpace(token)
	sum := sha256.Sum256([]byte(token[:min(len(token), maxToken)]))
	list := *t.current.Load()
	found := -1
	for i := range list {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], list[i].hash[:]), i, found)
	}
	if found < 0 || len(token) < minToken || len(token) > maxToken {
		return shell.User{}, false
	}
	return shell.User{Name: "token " + list[found].name, Role: list[found].role}, true
}

// Reload checks the file now, for example on SIGHUP, and reports whether new tokens are in use. The
// error is the fault of the file, even if it was reported before; the previous tokens stay in use
// then. To revoke all tokens, write an empty file: a missing file is a fault.
func (t *Tokens) Reload() (changed bool, err error) { return t.files.Reload() }

// Run checks the file at each interval and reports changes to Notify, until ctx ends. It returns
// nil. Only one Run may be active.
func (t *Tokens) Run(ctx context.Context) error {
	return t.files.Run(ctx, cmp.Or(t.opts.Interval, 10*time.Second), t.opts.Notify)
}

// read is the Read of reload.Files.
func (t *Tokens) read() (sum [32]byte, use func() error) {
	b, err := readFile(t.opts.File)
	h := sha256.New()
	fmt.Fprintf(h, "%d %v\n", len(b), err)
	h.Write(b)
	return [32]byte(h.Sum(nil)), func() error {
		var list []entry
		if err == nil {
			list, err = parseTokens(b)
		}
		if err != nil {
			return fmt.Errorf("tokens %q: %w", t.opts.File, err)
		}
		t.current.Store(&list)
		return nil
	}
}

// GenerateToken returns a token of 256 random bits and its line for the token file, without a line
// feed. role is shell.Viewer or shell.Operator; name identifies the token in audit logs. Show the
// token to its user once and do not store it.
func GenerateToken(role shell.Role, name string) (token, line string, err error) {
	word, ok := roleWords[role]
	if !ok {
		return "", "", fmt.Errorf("token role %s: allowed are viewer and operator", role)
	}
	if !validName(name) {
		return "", "", fmt.Errorf("token name %q: %s", name, nameRule)
	}
	var b [32]byte
	rand.Read(b[:]) // never fails
	token = "ranch_" + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	return token, strings.Join([]string{word, name, hashPrefix + hex.EncodeToString(sum[:])}, " "), nil
}

// waitError is the error for an address with too many invalid tokens.
type waitError struct {
	wait time.Duration // time until the next attempt is allowed
}

// Error contains the time in whole seconds, rounded up.
func (e *waitError) Error() string {
	return fmt.Sprintf("too many failed attempts: try again in %v", (e.wait + time.Second - 1).Truncate(time.Second))
}
