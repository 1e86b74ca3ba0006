// Package faults causes faults of networks and systems, chosen by a seed, so that a test that fails
// with one can be repeated.
//
// A [Transport] wraps another one: accept, reads, writes and handshakes fail with the errors that a
// system returns, at random points. A [Proxy] forwards streams and delays, splits, merges, stalls,
// truncates, half-closes and resets them. Both wait by package time only, so they work in a bubble
// of testing/synctest.
//
//	src := faults.NewSource(seed)
//	t := faults.NewTransport(new(transport.Mem), src)
//	t.Set(faults.Rates{Accept: 0.1, Read: 0.01, Write: 0.01})
//	l, err := ranch.StartListener("echo", t, ranch.Options{}, echo.Protocol{})
//
// The tests of this package are a campaign of random schedules against package ranch; see
// docs/faults.md.
package faults
