package ranch_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
	"goranch/transport"
)

// The functions of the package act on one server, the default one, and on no other.
func TestDefaultServer(t *testing.T) {
	mem, ctx := new(transport.Mem), within(t)
	opts := ranch.Options{MaxConnections: 5, Logger: quiet}
	l, err := ranch.StartListener(ref, mem, opts, answer)
	if err != nil {
		t.Fatal(err)
	}
	defer ranch.Drain(over)
	if _, err := ranch.StartListener(ref, mem, opts, answer); !errors.Is(err, ranch.ErrAlreadyStarted) {
		t.Errorf("a second of that name: %v", err)
	}
	var other ranch.Server
	if _, err := other.StartListener(ref, mem, opts, answer); err != nil {
		t.Errorf("the same name in another server: %v", err)
	}
	defer other.Drain(over)

	if got, err := ranch.Default.Listener(ref); got != l || err != nil {
		t.Errorf("Default has %v, %v", got, err)
	}
	if got := ranch.Listeners(); !cmp.Equal(got, []string{ref}) {
		t.Errorf("Listeners: %v", got)
	}
	guests(t, mem, dialAddr(l), 2)
	if got, err := ranch.Info(ref); err != nil || got.ActiveConnections != 2 {
		t.Errorf("Info: %+v, %v", got, err)
	}
	if got := ranch.InfoAll(); len(got) != 1 || got[0].ActiveConnections != 2 {
		t.Errorf("InfoAll: %+v", got)
	}
	cs, err := ranch.Connections(ref)
	if err != nil || len(cs) != 2 {
		t.Fatalf("Connections: %v, %v", cs, err)
	}
	if err := ranch.Kill(cs[0].ID); err != nil {
		t.Errorf("Kill: %v", err)
	}
	if err := ranch.WaitForConnections(ctx, ref, ranch.LessEqual, 1); err != nil {
		t.Errorf("WaitForConnections: %v", err)
	}
	if err := ranch.SetMaxConnections(ref, 9); err != nil {
		t.Errorf("SetMaxConnections: %v", err)
	}
	if got, err := ranch.MaxConnections(ref); got != 9 || err != nil {
		t.Errorf("MaxConnections: %d, %v", got, err)
	}
	if err := ranch.SetProtocol(ref, untilClosed); err != nil {
		t.Errorf("SetProtocol: %v", err)
	}
	if got, err := ranch.Protocol(ref); got == nil || err != nil {
		t.Errorf("Protocol: %v, %v", got, err)
	}
	opts.NumAcceptors = 3
	if waiting, err := ranch.SetTransportOptions(ref, nil, opts); err != nil || !cmp.Equal(waiting, []string{"NumAcceptors"}) {
		t.Errorf("SetTransportOptions: %v, %v", waiting, err)
	}
	if got, err := ranch.TransportOptions(ref); err != nil || got.NumAcceptors != 3 || got.MaxConnections != 5 || got.Addr != ":0" {
		t.Errorf("TransportOptions: %+v, %v", got, err)
	}
	if err := errors.Join(ranch.SuspendListener(ref), ranch.ResumeListener(ref)); err != nil {
		t.Error(err)
	}
	if err := ranch.StopListener(ref); err != nil {
		t.Error(err)
	}
	if got := other.Listeners(); !cmp.Equal(got, []string{ref}) {
		t.Errorf("the other server has %v", got)
	}
}
