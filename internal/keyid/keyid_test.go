package keyid_test

import (
	"encoding/hex"
	"testing"

	"goranch/internal/keyid"
)

// The ids in a stream stay valid when a node is upgraded.
func TestOf(t *testing.T) {
	id := keyid.Of("a", "b")
	if got, want := hex.EncodeToString(id[:]), "59b271ae1bbcb1d31d41929817f4b16f"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
