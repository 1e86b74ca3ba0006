package relay_test

import (
	"strings"
	"testing"
	"time"

	"goranch/protocol/relay"
	"goranch/transport"
)

func TestBadOptions(t *testing.T) {
	for want, o := range map[string]relay.Options{
		"Upstreams of length 0":                {},
		`Upstreams[0].Addr ""`:                 {Upstreams: upstreams("")},
		`Upstreams[0].Addr "fd:3"`:             {Upstreams: upstreams("fd:3")},
		`option Upstreams[0].Addr: `:           {Upstreams: upstreams("no port")},
		`Upstreams[1].Addr "a:1"`:              {Upstreams: upstreams("a:1", "a:1")},
		"Upstreams[0].Weight -1":               {Upstreams: []relay.Upstream{{Addr: "a:1", Weight: -1}}},
		"Upstreams[0].Weight 1001":             {Upstreams: []relay.Upstream{{Addr: "a:1", Weight: 1001}}},
		"Upstreams[0].MaxConnections -2":       {Upstreams: []relay.Upstream{{Addr: "a:1", MaxConnections: -2}}},
		"option Transport: option Backlog -1":  {Upstreams: upstreams("a:1"), Transport: transport.TCP{Backlog: -1}},
		"ProxyHeader 3":                        {Upstreams: upstreams("a:1"), ProxyHeader: 3},
		"DialTimeout -1s":                      {Upstreams: upstreams("a:1"), DialTimeout: -time.Second},
		"Attempts -2":                          {Upstreams: upstreams("a:1"), Attempts: -2},
		"Passive.MaxFailures -2":               {Upstreams: upstreams("a:1"), Passive: relay.Passive{MaxFailures: -2}},
		"Passive.Window -1ns":                  {Upstreams: upstreams("a:1"), Passive: relay.Passive{Window: -1}},
		"Passive.BackOff -1ns":                 {Upstreams: upstreams("a:1"), Passive: relay.Passive{BackOff: -1}},
		"Check.Interval 1ms":                   {Upstreams: upstreams("a:1"), Check: relay.Check{Interval: time.Millisecond}},
		"Check.Timeout -1ns":                   {Upstreams: upstreams("a:1"), Check: relay.Check{Timeout: -1}},
		"Check.Fall -1":                        {Upstreams: upstreams("a:1"), Check: relay.Check{Fall: -1}},
		"Check.Rise -1":                        {Upstreams: upstreams("a:1"), Check: relay.Check{Rise: -1}},
		"DrainIdle -2ns":                       {Upstreams: upstreams("a:1"), DrainIdle: -2},
		"before the handshake of transport x:": {Upstreams: upstreams("a:1"), ProxyHeader: 1, Transport: foreign{}},
	} {
		_, err := relay.New(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// foreign is a secure transport whose handshake is part of its Dial.
type foreign struct{ transport.TCP }

func (foreign) Name() string { return "x" }
func (foreign) Secure() bool { return true }
