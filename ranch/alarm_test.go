package ranch_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"goranch/ranch"
)

// An alarm is raised at its threshold, again after each cooldown while it is reached, and not
// below.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		calls := make(chan ranch.AlarmEvent, 100)
		l, rec := startListener(t, f, ranch.Options{Alarms: map[string]ranch.Alarm{
			"full": {Connections: 3, Cooldown: time.Second, Callback: func(e ranch.AlarmEvent) { calls <- e }},
		}}, greetAndEcho)
		in := servedClients(t, f, dialAddr(l), 2)
		time.Sleep(time.Minute)
		if n := len(calls); n != 0 {
			t.Fatalf("below the threshold: got %d calls, want 0", n)
		}
		in = append(in, servedClients(t, f, dialAddr(l), 1)...)
		synctest.Wait()
		e := <-calls
		if e.Ref != ref || e.Name != "full" || e.Connections != 3 || len(e.Listener.Connections()) != 3 {
			t.Errorf("got %+v, want 3 connections", e)
		}
		time.Sleep(2500 * time.Millisecond)
		if n := len(calls); n != 2 {
			t.Errorf("in two and a half cooldowns: got %d calls, want 2", n)
		}
		in[0].close()
		time.Sleep(time.Minute)
		if n := len(calls); n != 2 {
			t.Errorf("below the threshold again: got %d calls, want 2", n)
		}
		servedClients(t, f, dialAddr(l), 1)
		synctest.Wait()
		if n := len(calls); n != 3 {
			t.Errorf("at the threshold again: got %d calls, want 3", n)
		}
		if n := rec.count(ranch.AlarmRaised); n != 4 {
			t.Errorf("got %d events, want 4", n)
		}
	})
}

// Alarms can be replaced and removed while the listener runs. A panic of a callback is logged.
func TestAlarmsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		var was string
		alarm := func(n int) ranch.Alarm {
			return ranch.Alarm{Connections: n, Callback: func(e ranch.AlarmEvent) { was = e.Name; panic("over") }}
		}
		l, rec := startListener(t, f, ranch.Options{Alarms: map[string]ranch.Alarm{"a": alarm(1)}}, greetAndEcho)
		set := func(alarms map[string]ranch.Alarm) {
			t.Helper()
			if _, err := l.SetOptions(nil, ranch.Options{Alarms: alarms}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		set(map[string]ranch.Alarm{"b": alarm(1)})
		servedClients(t, f, dialAddr(l), 1)
		synctest.Wait()
		if was != "b" {
			t.Errorf("got alarm %q, want b", was)
		}
		set(nil)
		n := rec.count(ranch.AlarmRaised)
		time.Sleep(time.Minute)
		if now := rec.count(ranch.AlarmRaised); now != n {
			t.Errorf("after the removal: got %d alarms, want 0", now-n)
		}
	})
}

// The callback of an alarm may stop its listener.
func TestAlarmStopsItsListener(t *testing.T) {
	f := new(fakeTransport)
	done := make(chan error, 1)
	l, _ := startListener(t, f, ranch.Options{Alarms: map[string]ranch.Alarm{
		"enough": {Connections: 1, Callback: func(e ranch.AlarmEvent) { done <- e.Listener.Stop() }},
	}}, greetAndEcho)
	newClient(t, f, dialAddr(l))
	if err := receive(t, "the callback stops the listener", done); err != nil {
		t.Error(err)
	}
}

// Open descriptors are counted and reported.
func TestAlarmOfDescriptors(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no limit of descriptors")
	}
	f := new(fakeTransport)
	calls := make(chan ranch.AlarmEvent, 1)
	startListener(t, f, ranch.Options{Alarms: map[string]ranch.Alarm{
		"fds":  {Descriptors: 1e-9, Callback: func(e ranch.AlarmEvent) { calls <- e }},
		"none": {Descriptors: 1, Callback: func(ranch.AlarmEvent) { t.Error("got an alarm for all descriptors, want none") }},
	}}, greetAndEcho)
	e := receive(t, "the alarm is raised", calls)
	if e.Descriptors < 3 || e.DescriptorLimit < e.Descriptors || e.Name != "fds" {
		t.Errorf("got %+v, want some descriptors of a limit", e)
	}
}

// Alarms that are set while the listener stops are not raised after the stop.
func TestAlarmsSetWhileStopping(t *testing.T) {
	for range 50 {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{}, greetAndEcho)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 20 {
				l.SetOptions(nil, ranch.Options{Alarms: map[string]ranch.Alarm{"a": {Connections: 1}}})
			}
		}()
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		receive(t, "the options are set", done)
		if all := rec.ofKind(ranch.ListenerStopped, ranch.AlarmRaised); len(all) != 1 {
			t.Errorf("got events %+v, want one", all)
		}
	}
}
