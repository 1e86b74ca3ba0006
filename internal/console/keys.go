package console

import (
	"io"
	"sync"
)

// maxTypedAhead is how much may be typed while a command runs; the rest is dropped, for
// the keyboard must be read on, or nobody could interrupt.
const maxTypedAhead = 4096

// Keys reads a terminal in raw mode all the time, so that a running command can be
// interrupted, and keeps what is for the prompt.
type Keys struct {
	// Interrupt is called for Ctrl-C, and for q while Drawing. If it returns false there
	// is nothing to interrupt, and Ctrl-C clears the line.
	Interrupt func() bool
	// Drawing reports whether keys are for what is on the screen, not for the prompt.
	Drawing func() bool
	// Pressed is called before keys are passed on; nil is nothing.
	Pressed func()

	mu      sync.Mutex
	arrived *sync.Cond
	typed   []byte
	err     error
}

// What the line editor takes for: go to the end, erase all before it.
var eraseLine = []byte{0x05, 0x15}

// Watch reads from r until that fails. Whoever wants to end it must make that happen, or
// leave it waiting for a key.
func (k *Keys) Watch(r io.Reader) {
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		if k.Pressed != nil && n > 0 {
			k.Pressed()
		}
		for _, b := range buf[:n] {
			k.press(b)
		}
		if err != nil {
			k.End(err)
			return
		}
	}
}

func (k *Keys) press(b byte) {
	drawing := k.Drawing()
	if b == interrupt || b == 'q' && drawing {
		interrupted := k.Interrupt()
		k.mu.Lock()
		defer k.mu.Unlock()
		if interrupted {
			k.typed = k.typed[:0]
			return
		}
		k.put(eraseLine...)
		return
	}
	if drawing {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.put(b)
}

func (k *Keys) put(p ...byte) {
	if len(k.typed)+len(p) <= maxTypedAhead {
		k.typed = append(k.typed, p...)
	}
	k.cond().Signal()
}

func (k *Keys) cond() *sync.Cond {
	if k.arrived == nil {
		k.arrived = sync.NewCond(&k.mu)
	}
	return k.arrived
}

// End makes Read return err, at once: what was typed before is of no use any more
// unless it is io.EOF.
func (k *Keys) End(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.err = err
	}
	if err != io.EOF {
		k.typed = nil
	}
	k.cond().Broadcast()
}

// Read returns keys for the prompt.
func (k *Keys) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.typed) == 0 && k.err == nil {
		k.cond().Wait()
	}
	if len(k.typed) == 0 {
		return 0, k.err
	}
	n := copy(p, k.typed)
	k.typed = append(k.typed[:0], k.typed[n:]...)
	return n, nil
}
