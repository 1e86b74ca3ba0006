package certs

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

const (
	maxTicketKeys  = 16
	ticketRotation = 24 * time.Hour     // as in crypto/tls
	ticketLifetime = 7 * 24 * time.Hour // the limit of TLS 1.3
)

var errTicketKeys = fmt.Errorf("ticket keys: allowed are 1 to %d keys, without TicketKeyFile", maxTicketKeys)

type ticketKey struct {
	key  [32]byte
	made time.Time
}

func newTicketKey() ticketKey {
	k := ticketKey{made: time.Now()}
	rand.Read(k.key[:])
	return k
}

func sharedKeys(keys [][32]byte) (list []ticketKey) {
	for _, k := range keys {
		list = append(list, ticketKey{key: k})
	}
	return list
}

// ticketKeys returns the keys for a new set without keys of its own. s.swap is held.
func (s *Store) ticketKeys() (keys []ticketKey, shared bool) {
	if cur := s.cur.Load(); cur != nil {
		return cur.keys, cur.shared
	}
	if len(s.opts.TicketKeys) > 0 {
		return sharedKeys(s.opts.TicketKeys), true
	}
	return []ticketKey{newTicketKey()}, false
}

// current returns the current set. If its ticket key is due for rotation, the first handshake
// replaces it, so that no goroutine is needed.
func (s *Store) current() *set {
	cur := s.cur.Load()
	if !cur.stale() {
		return cur
	}
	s.swap.Lock()
	defer s.swap.Unlock()
	if cur = s.cur.Load(); !cur.stale() {
		return cur
	}
	next := *cur
	next.keys = []ticketKey{newTicketKey()}
	for _, k := range cur.keys {
		if time.Since(k.made) < ticketLifetime {
			next.keys = append(next.keys, k)
		}
	}
	s.cur.Store(&next)
	return &next
}

func (s *set) stale() bool { return !s.shared && time.Since(s.keys[0].made) >= ticketRotation }

// derive returns the keys for a configuration. A ticket records that the client's certificate was
// verified, and a resumed session does not verify it again; crypto/tls only checks that its root is
// still trusted. The derived keys therefore depend on the client CAs and on ClientAuth, so that a
// ticket is valid only under the same policy, on any server with the same keys.
func (s *set) derive(auth tls.ClientAuthType) (keys [][32]byte) {
	for _, k := range s.keys {
		mac := hmac.New(sha256.New, k.key[:])
		mac.Write([]byte("goranch session tickets 1"))
		mac.Write([]byte{byte(auth)})
		mac.Write(s.casSum[:])
		keys = append(keys, [32]byte(mac.Sum(nil)))
	}
	return keys
}

func (f *files) ticketKeys(path string) ([][32]byte, error) {
	if err := f.errs[path]; err != nil {
		return nil, err
	}
	keys, err := parseTicketKeys(f.data[path])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadTicketKeys, err)
	}
	return keys, nil
}

// parseTicketKeys does not include file content in errors: a damaged key is still a secret.
func parseTicketKeys(b []byte) (keys [][32]byte, err error) {
	n := 0
	for line := range bytes.Lines(b) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		var key [32]byte
		if len(line) != hex.EncodedLen(len(key)) {
			return nil, fmt.Errorf("line %d: %d characters, a key has 64 hexadecimal digits", n, len(line))
		}
		if _, err := hex.Decode(key[:], line); err != nil {
			return nil, fmt.Errorf("line %d: a key has 64 hexadecimal digits and nothing else", n)
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("no key")
	case len(keys) > maxTicketKeys:
		return nil, fmt.Errorf("%d keys, allowed are at most %d", len(keys), maxTicketKeys)
	}
	return keys, nil
}
