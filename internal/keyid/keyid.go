// Package keyid identifies the keys with which messages are published.
package keyid

import "crypto/sha256"

// ID identifies a key of a topic.
type ID [16]byte

// Of returns the first half of a SHA-256 hash, so that keys of any length and content take the same
// memory. The stream of a cluster contains it, so that all versions of the program must agree on it.
func Of(topic, key string) (id ID) {
	h := sha256.Sum256([]byte(topic + "\x00" + key)) // no topic contains NUL
	copy(id[:], h[:])
	return id
}
