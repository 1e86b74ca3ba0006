package console

import (
	"io"
	"sync"
)

// maxTypedAhead limits the bytes that are typed while a command runs. The rest is dropped: the
// keyboard must be read all the time so that Ctrl-C is seen.
const maxTypedAhead = 4096

// keyInterrupt is Ctrl-C.
const keyInterrupt = 0x03

// Keys reads a terminal in raw mode all the time, so that a running command can be interrupted, and
// buffers the keys for the prompt. Watch runs in its own goroutine; Read is called by the line
// editor.
type Keys struct {
	// Interrupt is called for Ctrl-C, and for q while Drawing. If it returns false, nothing was
	// interrupted, and Ctrl-C clears the line. It is required.
	Interrupt func() bool
	// Drawing reports whether keys belong to the frames on the screen, not to the prompt. It is
	// required.
	Drawing func() bool
	// Pressed is called before keys are handled. nil is not called.
	Pressed func()

	mu      sync.Mutex
	arrived *sync.Cond
	typed   []byte
	err     error
}

// eraseLine moves the line editor's cursor to the end and erases all before it.
var eraseLine = []byte{0x05, 0x15}

// Watch reads from r until a read fails. To end it, the caller must make the read fail.
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
	if b == keyInterrupt || b == 'q' && drawing {
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

// put requires k.mu.
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

// End makes Read return err. Unless err is io.EOF, keys that were typed before are dropped.
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

// Read returns keys for the prompt. It waits until there are some, or End was called.
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
