package conns

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/option"
)

// SharedLimits limit the connections of all gates of a [Shared] together. The zero value of each
// field is no limit, and so is transport.NoLimit; other negative values are refused.
type SharedLimits struct {
	// MaxConnections is how many connections may be live at once. Lowering it ends no connection.
	MaxConnections int
	// AcceptRate is how fast connections are accepted; see Limits.AcceptRate.
	AcceptRate Rate
	// PerAddress is how many connections one source address may have, and AddressRate how fast it
	// may connect; see Limits.PerAddress.
	PerAddress  int
	AddressRate Rate
	// MaxUnestablished is how many connections may be in the login phase at once; see
	// Limits.MaxUnestablished.
	MaxUnestablished int
}

// validate returns an error that names every field with a value that is not allowed.
func (l SharedLimits) validate() error {
	var f option.Faults
	f.CountOrNoLimit("MaxConnections", l.MaxConnections, "0 for no limit")
	f.Add(l.AcceptRate.check("AcceptRate"))
	f.CountOrNoLimit("PerAddress", l.PerAddress, "0 for no limit")
	f.Add(l.AddressRate.check("AddressRate"))
	f.CountOrNoLimit("MaxUnestablished", l.MaxUnestablished, "0 for no limit")
	return f.Err()
}

// Shared is a group of gates, and of the supervisors that use them, whose connections are counted
// together. Each gate also keeps its own limit, and each supervisor its own limits. A slot of a
// gate is reserved in the group too, before accept, so the connections of all gates never exceed
// the limit.
//
// At the limit, a free slot goes to the gates in turn, so that no listener starves another; within
// a gate it goes to the oldest waiter, pending connections first. The methods may be called from
// any goroutine.
type Shared struct {
	// Limits other than the number of connections.
	created       time.Time
	limits        atomic.Pointer[SharedLimits]
	acceptRate    acceptRate
	addresses     addresses
	prunedAt      atomic.Int64 // when prune ran last
	unestablished loginCount

	// Slots of all gates.
	mu       sync.Mutex // the lock of all gates
	limit    int
	used     int
	reserved int
	peak     int
	gates    []*Gate // joined
	next     int     // index of the gate that gets the next free slot
}

// member holds the functions given to Gate.Join.
type member struct {
	joined    bool
	interrupt func()
	yield     func() bool
}

// NewShared returns a group without gates. The error names all faults of l.
func NewShared(l SharedLimits) (*Shared, error) {
	s := &Shared{created: time.Now()}
	if err := s.Set(l); err != nil {
		return nil, err
	}
	return s, nil
}

// Set changes the limits, effective at once. On an error, which names all faults, nothing is
// changed.
func (s *Shared) Set(l SharedLimits) error {
	if err := l.validate(); err != nil {
		return err
	}
	s.limits.Store(&l)
	s.acceptRate.set(l.AcceptRate)
	s.mu.Lock()
	s.limit = l.MaxConnections
	if s.limit <= 0 {
		s.limit = unlimited
	}
	s.wake()
	var interrupt []func()
	if s.over() {
		for _, g := range s.gates {
			if g.offers() > 0 {
				interrupt = append(interrupt, g.member.interrupt)
			}
		}
	}
	s.mu.Unlock()
	for _, f := range interrupt {
		f()
	}
	return nil
}

// Limits returns the limits.
func (s *Shared) Limits() SharedLimits { return *s.limits.Load() }

// SharedState is the state of a [Shared] at one instant.
type SharedState struct {
	Limit     int // of connections; math.MaxInt if there is none
	Used      int // slots with a connection
	Reserved  int // slots reserved by acceptors
	Waiting   int // acceptors and pending connections that wait for a slot
	Peak      int // the highest number of used slots so far
	Gates     int // that have joined
	Addresses int // source addresses in the table of the limits per address

	Unestablished int // connections in the login phase; 0 unless MaxUnestablished is set
}

// State returns the state of the group at one instant.
func (s *Shared) State() SharedState {
	addresses, unestablished := s.addresses.len(), 0
	if s.limits.Load().MaxUnestablished > 0 {
		unestablished = int(s.unestablished.n.Load())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SharedState{Limit: s.limit, Used: s.used, Reserved: s.reserved, Peak: s.peak, Gates: len(s.gates), Addresses: addresses,
		Unestablished: unestablished}
	for _, g := range s.gates {
		st.Waiting += g.state().Waiting
	}
	return st
}

// NewGate returns a gate of the group that itself admits limit connections at once, as the function
// [NewGate]. Nothing may wait at it before [Gate.Join].
func (s *Shared) NewGate(limit int) *Gate {
	g := NewGate(limit)
	g.mu, g.shared = &s.mu, s
	return g
}

// now is the clock of the group, in nanoseconds since it was created.
func (s *Shared) now() int64 { return int64(time.Since(s.created)) }

// prune is addresses.prune for the monitors of all supervisors, at most twice a second.
func (s *Shared) prune() {
	now, last := s.now(), s.prunedAt.Load()
	if now-last > int64(time.Second/2) && s.prunedAt.CompareAndSwap(last, now) {
		s.addresses.prune(now)
	}
}

// AcceptLimited reports whether there is an AcceptRate.
func (s *Shared) AcceptLimited() bool { return s.limits.Load().AcceptRate.PerSecond > 0 }

// waitAccept waits until the AcceptRate allows one more connection.
func (s *Shared) waitAccept(ctx context.Context) error { return s.acceptRate.wait(ctx, s.now) }
