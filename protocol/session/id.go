package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"strconv"
)

// maxID is the longest id in bytes.
const maxID = 128

// randomID is the default of Options.NewID.
func randomID(net.Addr) (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return decimal(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])), nil
}

// decimal returns hi<<64 + lo in decimal digits.
func decimal(hi, lo uint64) string {
	const digits, power = 18, 1e18 // of one division
	var b [3 * digits]byte
	i := len(b)
	for hi > 0 || lo > 0 {
		var part uint64
		lo, part = bits.Div64(hi%power, lo, power)
		hi /= power
		for range digits {
			i--
			b[i] = byte('0' + part%10)
			part /= 10
		}
	}
	if i == len(b) {
		return "0"
	}
	for b[i] == '0' {
		i++
	}
	return string(b[i:])
}

// DJBID returns Bernstein's 32-bit hash of remote.String(), "ip:port", as a decimal number.
//
// It is insecure: anyone who knows or guesses the address and port of a client can take over its
// session. It exists for clients that expect such ids, on listeners that other hosts cannot reach.
func DJBID(remote net.Addr) (string, error) {
	if remote == nil {
		return "", errors.New("DJB id: the connection has no remote address")
	}
	h := uint32(5381)
	for _, b := range []byte(remote.String()) {
		h = h*33 + uint32(b)
	}
	return strconv.FormatUint(uint64(h), 10), nil
}

// key is the hash under which a session is stored. Because it is a hash, the time of a lookup does
// not reveal how many leading bytes of an id were right. Half of the hash is as hard to find as an
// id.
type key [16]byte

// keyOf hashes at most maxID+1 bytes, so that the time for a longer id does not depend on its
// length.
func keyOf(id string) key {
	var b [maxID + 1]byte
	sum := sha256.Sum256(b[:copy(b[:], id)])
	return key(sum[:len(key{})])
}

func checkID(id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("session id of %d bytes: allowed are 1 to %d", len(id), maxID)
	}
	return nil
}
