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
	"goranch/internal/reload"
	"goranch/protocol/shell"
	"goranch/transport"
)

const (
	// DefaultInterval is how often Run looks at the file.
	DefaultInterval = 10 * time.Second
	// MinToken is how many bytes a token has at least. A shorter one is refused, even if the
	// file has its hash: see [Tokens].
	MinToken = 22
	// maxToken is more than any token has.
	maxToken = 1024
)

// TokenOptions are the settings of [Tokens]. The zero value of each field but File is its default.
type TokenOptions struct {
	// File has a token a line: its role, "viewer" or "operator", a name, and its hash.
	//
	//	# role   name    hash
	//	operator deploy  sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
	//
	// Empty lines and those that begin with # are skipped. A name is of 1 to 64 letters,
	// digits and "._@-". There are at most 1,000 tokens; each name and each hash occurs once. The file must belong
	// to root or to the user of this process, others must not be able to read it (mode 0600 or
	// 0640), nor its group to write it.
	File string
	// Interval is the time between two looks at the file, 0 is 10 s ([DefaultInterval]).
	// Negative: Run never looks, only [Tokens.Reload] does.
	Interval time.Duration
	// Notify, if set, is called by Run, in its goroutine, when it has found the file changed:
	// with nil if it is in use from now on, else with what is wrong with it. A fault is told
	// once, and again only when the file has changed once more.
	Notify func(error)
	// Free is how many wrong tokens an address may present without consequence; after that it
	// waits for a second, and twice as long after each further one. 0 is 5; negative is none.
	Free int
	// MaxWait is the longest wait. 0 or negative is 5 minutes; less than a second is a second.
	MaxWait time.Duration
}

// Tokens knows who tokens were made for. Its methods may be called from any goroutine. It has
// no goroutine of its own and nothing to close.
//
// The file holds hashes only, so who reads it, or a backup of it, cannot use what it says. They are
// SHA-256, not one of the slow hashes for passwords (argon2id, bcrypt), which are refused. Those
// make each guess expensive because passwords can be guessed; nobody guesses 256 random bits,
// whatever a guess costs. What they would cost is the server's own time, for strangers, and
// once for each entry of the file. It follows that a token must be random and long: use
// [GenerateToken]. Those shorter than MinToken are refused.
//
// A token stands for a person or a program, not for a session: those that have begun with
// it go on when it is taken from the file.
type Tokens struct {
	opts     TokenOptions
	cur      atomic.Pointer[[]entry]
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

// OpenTokens reads the file. The error names each line that cannot be used, and wraps that of the system,
// ErrBadOption or ErrBadTokenFile. A file without any token is good, and lets nobody in.
func OpenTokens(o TokenOptions) (*Tokens, error) {
	if o.File == "" {
		return nil, fmt.Errorf("%w File %q: a file must be named", ErrBadOption, o.File)
	}
	t := &Tokens{opts: o, attempts: attempts.New(attempts.Options{Free: o.Free, Max: o.MaxWait})}
	t.files.Read = t.read
	if _, err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Token says who has presented token over conn. It fits the field Token of the shell's options.
//
// Every token that is no good gets the same ErrDenied, whatever is wrong with it. After some
// of them its address gets a [*WaitError] for a time, whatever token it presents. A good one
// forgives the bad ones. Blanks around it do not matter. Clients of Unix sockets and in the same process never wait.
func (t *Tokens) Token(_ context.Context, conn *transport.Conn, token string) (shell.User, error) {
	return t.Check(conn.RemoteAddr(), token)
}

// Check is [Tokens.Token] for a client elsewhere than on a Conn, which is at addr.
func (t *Tokens) Check(addr net.Addr, token string) (shell.User, error) {
	if wait, ok := t.attempts.Allow(addr); !ok {
		return shell.User{}, &WaitError{Wait: wait}
	}
	user, ok := t.find(token)
	if !ok {
		t.attempts.Fail(addr)
		return shell.User{}, errToken
	}
	t.attempts.Succeed(addr)
	return user, nil
}

var errToken = fmt.Errorf("%w: the token is not valid", ErrDenied)

// find looks at every entry, and takes as long for each token. What it compares are hashes, in which a guess
// learns nothing from the time either.
func (t *Tokens) find(token string) (shell.User, bool) {
	token = strings.TrimSpace(token)
	sum := sha256.Sum256([]byte(token[:min(len(token), maxToken)]))
	list := *t.cur.Load()
	found := -1
	for i := range list {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], list[i].hash[:]), i, found)
	}
	if found < 0 || len(token) < MinToken || len(token) > maxToken {
		return shell.User{}, false
	}
	return shell.User{Name: "token " + list[found].name, Role: list[found].role}, true
}

// Len returns how many tokens are in use.
func (t *Tokens) Len() int { return len(*t.cur.Load()) }

// Reload looks at the file now, for instance on SIGHUP, and reports whether a new one is in
// use. Its error is what is wrong with the file, also if that was told before; what was good
// stays in use. To revoke all tokens write an empty file: a missing one is a fault.
func (t *Tokens) Reload() (changed bool, err error) { return t.files.Reload() }

// Run looks at the file at each interval and reports to Notify, until ctx ends. It always
// returns nil. It may be started and ended at any time, but once at a time.
func (t *Tokens) Run(ctx context.Context) error {
	return t.files.Run(ctx, cmp.Or(t.opts.Interval, DefaultInterval), t.opts.Notify)
}

// read is that of the files.
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
		t.cur.Store(&list)
		return nil
	}
}

// GenerateToken makes a token of 256 random bits, and the line for it in a file of tokens. role
// is shell.Viewer or shell.Operator; name is what audit logs will call who presents it. The
// token is to be shown once and kept by its user; the line ends without a line feed. The error
// wraps ErrBadOption.
func GenerateToken(role shell.Role, name string) (token, line string, err error) {
	word, ok := roleWords[role]
	if !ok {
		return "", "", fmt.Errorf("%w role %d: use shell.Viewer or shell.Operator", ErrBadOption, role)
	}
	if !validName(name) {
		return "", "", fmt.Errorf("%w name %q: %s", ErrBadOption, name, nameRule)
	}
	var b [32]byte
	rand.Read(b[:]) // it never fails
	token = "ranch_" + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	return token, strings.Join([]string{word, name, hashPrefix + hex.EncodeToString(sum[:])}, " "), nil
}

// WaitError says how long an address has to wait before it may try again. It wraps
// [ErrTooManyAttempts].
type WaitError struct{ Wait time.Duration }

// Error says the time in whole seconds, rounded up.
func (e *WaitError) Error() string {
	return fmt.Sprintf("%v: try again in %v", ErrTooManyAttempts, (e.Wait + time.Second - 1).Truncate(time.Second))
}

// Unwrap returns ErrTooManyAttempts.
func (e *WaitError) Unwrap() error { return ErrTooManyAttempts }
