package protocol

import (
	"testing"
	"unsafe"
)

// The allocator gives a peer 256 bytes; one byte more costs 32 more for each idle connection.
func TestPeerSize(t *testing.T) {
	if got := unsafe.Sizeof(Peer{}); unsafe.Sizeof(uintptr(0)) == 8 && got > 256 {
		t.Errorf("got %d bytes, want at most 256", got)
	}
}
