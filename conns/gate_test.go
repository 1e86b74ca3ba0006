package conns_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
)

var (
	bg        = context.Background()
	errGaveUp = errors.New("gave up waiting")
)

// useSlots reserves and confirms n slots, without waiting.
func useSlots(t testing.TB, g *conns.Gate, n int) {
	t.Helper()
	for i := range n {
		if !g.TryReserve() || !g.TryConfirm() {
			t.Fatalf("got no slot %d of %d, want one: %+v", i+1, n, g.State())
		}
	}
}

// reserveSlots reserves n slots, without waiting.
func reserveSlots(t testing.TB, g *conns.Gate, n int) {
	t.Helper()
	for i := range n {
		if !g.TryReserve() {
			t.Fatalf("got no reservation %d of %d, want one: %+v", i+1, n, g.State())
		}
	}
}

// wantState compares the state of g. Over follows from the other fields.
func wantState(t testing.TB, g *conns.Gate, want conns.GateState) {
	t.Helper()
	want.Over = want.Used+want.Reserved > want.Limit
	if diff := cmp.Diff(want, g.State()); diff != "" {
		t.Fatalf("state of the gate (-want +got):\n%s", diff)
	}
}

var gateCases = []struct {
	name  string
	limit int
	do    func(g *conns.Gate) []bool
	got   []bool
	state conns.GateState
}{
	{"zero admits none", 0,
		func(g *conns.Gate) []bool { return []bool{g.TryReserve()} },
		[]bool{false}, conns.GateState{}},
	{"a negative limit is zero", -5,
		func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.State().Over} },
		[]bool{false, false}, conns.GateState{}},
	{"a reservation takes a slot", 1,
		func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.TryReserve()} },
		[]bool{true, false}, conns.GateState{Limit: 1, Reserved: 1}},
	{"a connection takes a slot", 1,
		func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.TryConfirm(), g.TryReserve()} },
		[]bool{true, true, false}, conns.GateState{Limit: 1, Used: 1, Peak: 1}},
	{"both together fill the gate", 2,
		func(g *conns.Gate) []bool {
			return []bool{g.TryReserve(), g.TryReserve(), g.TryConfirm(), g.TryReserve()}
		},
		[]bool{true, true, true, false}, conns.GateState{Limit: 2, Used: 1, Reserved: 1, Peak: 1}},
	{"cancel frees the slot", 1,
		func(g *conns.Gate) []bool {
			a := g.TryReserve()
			g.Cancel()
			return []bool{a, g.TryReserve()}
		},
		[]bool{true, true}, conns.GateState{Limit: 1, Reserved: 1}},
	{"release frees the slot, the peak stays", 1,
		func(g *conns.Gate) []bool {
			a, b := g.TryReserve(), g.TryConfirm()
			g.Release()
			return []bool{a, b, g.TryReserve()}
		},
		[]bool{true, true, true}, conns.GateState{Limit: 1, Reserved: 1, Peak: 1}},
	{"raised", 1,
		func(g *conns.Gate) []bool {
			return []bool{g.TryReserve(), g.TryReserve(), g.SetLimit(2), g.TryReserve(), g.TryReserve()}
		},
		[]bool{true, false, false, true, false}, conns.GateState{Limit: 2, Reserved: 2}},
	{"lowered below what is reserved", 3,
		func(g *conns.Gate) []bool {
			return []bool{
				g.TryReserve(), g.TryReserve(), g.TryReserve(), g.SetLimit(1), g.State().Over,
				g.TryConfirm(), g.TryConfirm(),
			}
		},
		[]bool{true, true, true, true, true, true, false},
		conns.GateState{Limit: 1, Used: 1, Reserved: 2, Peak: 1}},
	{"lowered to what is reserved is not over", 3,
		func(g *conns.Gate) []bool {
			return []bool{g.TryReserve(), g.SetLimit(1), g.State().Over, g.TryReserve()}
		},
		[]bool{true, false, false, false}, conns.GateState{Limit: 1, Reserved: 1}},
	{"lowered to zero", 2,
		func(g *conns.Gate) []bool {
			return []bool{g.TryReserve(), g.TryConfirm(), g.TryReserve(), g.SetLimit(0), g.TryConfirm()}
		},
		[]bool{true, true, true, true, false}, conns.GateState{Used: 1, Reserved: 1, Peak: 1}},
	{"lowered below zero is zero", 1,
		func(g *conns.Gate) []bool {
			return []bool{g.SetLimit(-1), g.TryReserve(), g.SetLimit(1), g.TryReserve()}
		},
		[]bool{false, false, false, true}, conns.GateState{Limit: 1, Reserved: 1}},
	{"over ends when slots are freed", 2,
		func(g *conns.Gate) []bool {
			got := []bool{g.TryReserve(), g.TryReserve(), g.SetLimit(1)}
			g.Cancel()
			return append(got, g.State().Over, g.TryReserve())
		},
		[]bool{true, true, true, false, false}, conns.GateState{Limit: 1, Reserved: 1}},
	{"to unlimited and back", 1,
		func(g *conns.Gate) []bool {
			got := []bool{g.SetLimit(math.MaxInt)}
			for range 3 {
				got = append(got, g.TryReserve(), g.TryConfirm())
			}
			return append(got, g.State().Over, g.SetLimit(1), g.TryReserve())
		},
		[]bool{false, true, true, true, true, true, true, false, true, false},
		conns.GateState{Limit: 1, Used: 3, Peak: 3}},
	{"unlimited", math.MaxInt,
		func(g *conns.Gate) []bool {
			return []bool{g.TryReserve(), g.TryConfirm(), g.TryReserve(), g.State().Over}
		},
		[]bool{true, true, true, false}, conns.GateState{Limit: math.MaxInt, Used: 1, Reserved: 1, Peak: 1}},
}

func TestGateOfOneGoroutine(t *testing.T) {
	for _, tc := range gateCases {
		t.Run(tc.name, func(t *testing.T) {
			g := conns.NewGate(tc.limit)
			if diff := cmp.Diff(tc.got, tc.do(g)); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
			wantState(t, g, tc.state)
		})
	}
}

// Reserve and Confirm return at once while slots are free.
func TestGateDoesNotWait(t *testing.T) {
	g := conns.NewGate(2)
	if err := errors.Join(g.Reserve(bg), g.Reserve(bg), g.Confirm(bg)); err != nil {
		t.Fatalf("got %v, want nil", err)
	}
	wantState(t, g, conns.GateState{Limit: 2, Used: 1, Reserved: 1, Peak: 1})
}

// mustPanic returns the value of the panic of f.
func mustPanic(t *testing.T, f func()) (v any) {
	t.Helper()
	defer func() {
		if v = recover(); v == nil {
			t.Fatal("got no panic, want one")
		}
	}()
	f()
	return nil
}

// A slot that is released twice would admit one connection too many for ever, so misuse panics. The
// gate is unchanged after that.
func TestGatePanicsAtMisuse(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wrong func(g *conns.Gate)
		state conns.GateState
	}{
		{"release of nothing", func(*conns.Gate) {}, (*conns.Gate).Release, conns.GateState{Limit: 2}},
		{"second release", func(g *conns.Gate) { useSlots(t, g, 1); g.Release() }, (*conns.Gate).Release, conns.GateState{Limit: 2, Peak: 1}},
		{"release of a reservation", func(g *conns.Gate) { reserveSlots(t, g, 1) }, (*conns.Gate).Release, conns.GateState{Limit: 2, Reserved: 1}},
		{"cancel of nothing", func(*conns.Gate) {}, (*conns.Gate).Cancel, conns.GateState{Limit: 2}},
		{"second cancel", func(g *conns.Gate) { reserveSlots(t, g, 1); g.Cancel() }, (*conns.Gate).Cancel, conns.GateState{Limit: 2}},
		{"cancel of a connection", func(g *conns.Gate) { useSlots(t, g, 1) }, (*conns.Gate).Cancel, conns.GateState{Limit: 2, Used: 1, Peak: 1}},
		{"confirm of nothing", func(*conns.Gate) {}, func(g *conns.Gate) { g.Confirm(bg) }, conns.GateState{Limit: 2}},
		{"confirm of nothing at the limit", func(g *conns.Gate) { useSlots(t, g, 2) }, func(g *conns.Gate) { g.Confirm(bg) }, conns.GateState{Limit: 2, Used: 2, Peak: 2}},
		{"second confirm", func(g *conns.Gate) { useSlots(t, g, 1) }, func(g *conns.Gate) { g.TryConfirm() }, conns.GateState{Limit: 2, Used: 1, Peak: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := conns.NewGate(2)
			tc.prime(g)
			mustPanic(t, func() { tc.wrong(g) })
			done := make(chan conns.GateState, 1)
			go func() { done <- g.State() }() // does not return if the gate is still locked
			tc.state.Over = tc.state.Used+tc.state.Reserved > tc.state.Limit
			if diff := cmp.Diff(tc.state, receive(t, done)); diff != "" {
				t.Errorf("state of the gate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGatePeak(t *testing.T) {
	g := conns.NewGate(math.MaxInt)
	var peaks []int
	for _, n := range []int{3, -2, 1, -2, 5, -5} {
		if n > 0 {
			useSlots(t, g, n)
		}
		for range -n {
			g.Release()
		}
		peaks = append(peaks, g.State().Peak)
	}
	if diff := cmp.Diff([]int{3, 3, 3, 3, 5, 5}, peaks); diff != "" {
		t.Errorf("peaks (-want +got):\n%s", diff)
	}
}
