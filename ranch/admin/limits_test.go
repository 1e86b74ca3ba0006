package admin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

func TestCap(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	js, l := s.jsonClient(), s.listener("echo")
	if got := js.json("cap echo 0").fields(t); got["cap"] != 0.0 || got["previous"] != 1024.0 || l.Info().MaxConnections != 0 {
		t.Errorf("cap echo 0: got %v and cap %d, want cap 0, previous 1024", got, l.Info().MaxConnections)
	}
	js.json("limit echo idle-timeout=2m")
	if n := l.Info().MaxConnections; n != 0 {
		t.Errorf("cap after a change of limits: got %d, want 0", n)
	}
	if got := js.json("cap echo unlimited").fields(t); got["cap"] != "unlimited" || l.Info().MaxConnections != ranch.Unlimited {
		t.Errorf("cap echo unlimited: got %v and cap %d, want unlimited", got, l.Info().MaxConnections)
	}
}

// Limits are set, including by their former names rest-after, nobody and idlest.
func TestLimits(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	js, l := s.jsonClient(), s.listener("echo")
	rows := js.json("limit echo idle-timeout=2m accept-rate=100:20 shutdown-timeout=0s refuse-after=0s evict=idlest rest-after=never max-per-address=7 lifetime-jitter=0.5").rows(t)
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprint(r["limit"], " ", r["previous"], " ", r["value"]))
	}
	want := []string{"accept-rate unlimited 100:20", "max-per-address unlimited 7", "idle-timeout infinity 2m0s", "lifetime-jitter 0 0.5",
		"park-after 1s infinity", "refuse-after infinity 0s", "shutdown-timeout 5s 0s", "evict none most-idle"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes: (-want +got):\n%s", diff)
	}
	o := l.Options()
	if o.IdleTimeout != 2*time.Minute || o.AcceptRate != (conns.Rate{PerSecond: 100, Burst: 20}) || o.ShutdownTimeout != ranch.BrutalKill || o.RefuseAfter != -1 || o.Evict != conns.EvictMostIdle || o.ParkAfter >= 0 {
		t.Errorf("got options %+v, want the values set", o)
	}
	js.json("limit echo idle-timeout=infinity shutdown-timeout=infinity accept-rate=unlimited max-per-address=unlimited refuse-after=infinity park-after=2s")
	o = l.Options()
	if o.IdleTimeout != 0 || o.ShutdownTimeout != ranch.Infinity || o.AcceptRate != (conns.Rate{}) || o.PerAddress != 0 || o.RefuseAfter != 0 || o.ParkAfter != 2*time.Second {
		t.Errorf("got options %+v, want the values reset", o)
	}
	// Each value is accepted in the form in which it is shown.
	for _, r := range js.json("limits echo").rows(t) {
		if a := js.json(fmt.Sprintf("limit echo %s=%s", r["limit"], r["value"])); a.Error != nil {
			t.Errorf("limit echo %s=%s: got error %s, want none", r["limit"], r["value"], a.Error.Message)
		}
	}
	if a := js.json("limit echo evict=oldest idle-timeout=x"); a.Error == nil || l.Options().Evict != conns.EvictMostIdle {
		t.Errorf("one valid and one invalid value: got %+v and policy %v, want an error and no change", a, l.Options().Evict)
	}
	js.json("limit echo idle-timeout=none max-per-address=none refuse-after=never drain-delay=none")
	if o := l.Options(); o.IdleTimeout != 0 || o.PerAddress != 0 || o.RefuseAfter != 0 || o.DrainDelay != 0 {
		t.Errorf("the former names of infinity, unlimited and 0s: got %+v, want no limits", o)
	}
	if a := js.json("limit echo evict=nobody"); a.Error != nil || l.Options().Evict != conns.EvictNone {
		t.Errorf("evict=nobody: got %+v and policy %v, want none", a, l.Options().Evict)
	}
}

// The explicit values for no limit are shown like the zero values.
func TestLimitsShowNoLimit(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	_, err := s.listener("echo").ChangeOptions(func(o *ranch.Options) {
		o.IdleTimeout, o.HandshakeTimeout, o.PerAddress = transport.NoTimeout, transport.NoTimeout, transport.NoLimit
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[any]any{}
	for _, r := range s.jsonClient().json("limits echo").rows(t) {
		got[r["limit"]] = r["value"]
	}
	for _, name := range []string{"idle-timeout", "handshake-timeout", "max-per-address", "min-receive-rate"} {
		want := map[string]string{"max-per-address": "unlimited", "min-receive-rate": "0"}[name]
		if want == "" {
			want = "infinity"
		}
		if got[name] != want {
			t.Errorf("%s: got %v, want %s", name, got[name], want)
		}
	}
}
