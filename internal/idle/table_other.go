//go:build !linux

package idle

const canPark = false

var parkedConns table

type table struct{}

func (*table) add(int, *Reads, Waker) bool { return false }
func (*table) remove(int, *Reads) Waker    { return nil }
