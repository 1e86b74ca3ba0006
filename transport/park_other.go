//go:build !linux

package transport

const canPark = false

var parkingLot lot

type lot struct{}

func (*lot) add(int, *Conn, Waker) bool { return false }
func (*lot) take(int, *Conn) Waker      { return nil }
