package session

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
)

// maxID is the longest id in bytes.
const maxID = 128

// RandomID returns 128 bits from crypto/rand as a decimal number, whoever asks: ids which nobody can guess.
func RandomID(net.Addr) (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return new(big.Int).SetBytes(b[:]).String(), nil
}

// DJBID returns Bernstein's hash of remote's text, "ip:port", in 32 bits as a decimal number.
//
// It is insecure: who knows or guesses a client's address and port knows its session. It exists for
// clients that expect these ids, on listeners that nobody else can reach.
func DJBID(remote net.Addr) (string, error) {
	if remote == nil {
		return "", errors.New("no address to make an id of")
	}
	h := uint32(5381)
	for _, b := range []byte(remote.String()) {
		h = h*33 + uint32(b)
	}
	return strconv.FormatUint(uint64(h), 10), nil
}

// key is what sessions are found by. That it is a hash keeps the time of a look-up from telling how
// much of an id was right.
type key [sha256.Size]byte

// keyOf takes as long for an id that cannot be one as for the longest that can.
func keyOf(id string) key { return sha256.Sum256([]byte(id[:min(len(id), maxID+1)])) }

func checkID(id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("an id of %d bytes: allowed are 1 to %d", len(id), maxID)
	}
	return nil
}
