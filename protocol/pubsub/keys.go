package pubsub

import (
	"container/list"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"goranch/internal/keyid"
)

// KeyWindow is the time in which a message with the same key and topic as an earlier one is not
// published again.
const KeyWindow = 2 * time.Minute

// maxKey limits the length of a key, in bytes.
const maxKey = 128

// Published is the result of a publish.
type Published struct {
	// Subscribers is the number of subscribers of this server to which the message was passed. If
	// the Broker orders the topic, it is the number that this server had when the message was
	// accepted; a session with several matching subscriptions counts several times.
	Subscribers int
	// Position is zero if messages of the topic have none.
	Position Position
}

// errInProgress refuses a publish whose outcome may still change.
var errInProgress = errors.New("a message with this key is being published")

// keyTable holds the keys of the messages of the last KeyWindow.
type keyTable struct {
	limit int // of keys, of which one source address may have its share; negative: none

	mu        sync.Mutex
	entries   map[keyid.ID]*list.Element
	oldest    list.List // of *keyEntry, in the order of begin
	byAddress map[netip.Addr]int
}

type keyEntry struct {
	id        keyid.ID
	address   netip.Addr // invalid: not limited by address
	begun     time.Time
	done      bool
	published Published
}

// begin reserves a key. known is true if its message was published before, with the result p. An
// error refuses the publish. Otherwise the caller ends the reservation with end.
func (k *keyTable) begin(id keyid.ID, address netip.Addr) (p Published, known bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for e := k.oldest.Front(); e != nil && now.Sub(e.Value.(*keyEntry).begun) >= KeyWindow; e = k.oldest.Front() {
		k.remove(e)
	}
	if e := k.entries[id]; e != nil {
		entry := e.Value.(*keyEntry)
		if !entry.done {
			return p, false, errInProgress
		}
		return entry.published, true, nil
	}
	switch {
	case k.limit < 0:
	case len(k.entries) >= k.limit:
		return p, false, keyLimitError("", k.limit)
	case address.IsValid() && int64(k.byAddress[address]) >= shareOf(int64(k.limit-len(k.entries))):
		return p, false, keyLimitError(" of this source address", k.byAddress[address])
	}
	if k.entries == nil {
		k.entries, k.byAddress = make(map[keyid.ID]*list.Element), make(map[netip.Addr]int)
	}
	k.entries[id] = k.oldest.PushBack(&keyEntry{id: id, address: address, begun: now})
	if address.IsValid() {
		k.byAddress[address]++
	}
	return p, false, nil
}

func keyLimitError(per string, limit int) error {
	return fmt.Errorf("at most %d messages with keys%s within %v", limit, per, KeyWindow)
}

// end records the result of a publish, or forgets the key if that has failed.
func (k *keyTable) end(id keyid.ID, p Published, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[id]
	switch {
	case e == nil: // it took longer than KeyWindow
	case err != nil:
		k.remove(e)
	default:
		entry := e.Value.(*keyEntry)
		entry.done, entry.published = true, p
	}
}

// remove forgets a key. k.mu is held.
func (k *keyTable) remove(e *list.Element) {
	entry := k.oldest.Remove(e).(*keyEntry)
	delete(k.entries, entry.id)
	if n := k.byAddress[entry.address] - 1; n > 0 {
		k.byAddress[entry.address] = n
	} else {
		delete(k.byAddress, entry.address)
	}
}
