//go:build !linux

package idle

const canPark = false

type entry struct {
	reads  *Reads
	waker  Waker
	inline *InlinePolicy
}

type table struct{}

var noTable table

func tableOf(int) *table { return &noTable }

func (*table) add(int, entry) bool            { return false }
func (*table) remove(int, *Reads, bool) Waker { return nil }
