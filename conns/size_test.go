package conns

import (
	"testing"
	"unsafe"
)

// The allocator gives a connection 352 bytes; one byte more costs 32 more for each idle connection.
func TestConnectionSize(t *testing.T) {
	if got := unsafe.Sizeof(connection{}); unsafe.Sizeof(uintptr(0)) == 8 && got > 352 {
		t.Errorf("got %d bytes, want at most 352", got)
	}
}
