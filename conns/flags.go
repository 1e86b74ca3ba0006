package conns

import "sync/atomic"

// flags is the part of a connection's state that several goroutines change: bits, and two reasons
// that are set once. They share a word to save memory; see TestConnectionSize.
type flags struct{ v atomic.Uint32 }

const (
	flagServing     uint32 = 1 << iota // the handshake is over
	flagCounted                        // it has a slot of the gate
	flagParked                         // it has no goroutine until data arrives
	flagAwake                          // it could not be parked: its goroutine waits for data
	flagEstablished                    // Established was called
	flagLogin                          // it is served and not established, and counted by MaxUnestablished
	flagHandedOver                     // its goroutine has ended: it continues when it is handed back
	flagHandedBack                     // HandBack was called

	stopShift  = 8  // a limit or eviction for which it was asked to stop; 0: none
	closeShift = 16 // Killed, Aborted or the stop reason, once it was closed for that; 0: none
)

func (f *flags) has(bit uint32) bool { return f.v.Load()&bit != 0 }

// set returns the flags before.
func (f *flags) set(bit uint32) uint32 { return f.v.Or(bit) }

// clear reports whether the bit was set.
func (f *flags) clear(bit uint32) bool { return f.v.And(^bit)&bit != 0 }

func (f *flags) stopReason() Reason  { return Reason(f.v.Load() >> stopShift) }
func (f *flags) closeReason() Reason { return Reason(f.v.Load() >> closeShift) }

// setStopReason and setCloseReason report whether r is the first such reason.
func (f *flags) setStopReason(r Reason) bool  { return f.setReason(stopShift, r) }
func (f *flags) setCloseReason(r Reason) bool { return f.setReason(closeShift, r) }

func (f *flags) setReason(shift uint, r Reason) bool {
	for {
		old := f.v.Load()
		if Reason(old>>shift) != 0 {
			return false
		}
		if f.v.CompareAndSwap(old, old|uint32(r)<<shift) {
			return true
		}
	}
}
