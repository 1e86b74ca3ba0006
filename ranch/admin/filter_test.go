package admin

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/transport"
)

func tcpAddr(s string) net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", s)
	return a
}

func TestFilter(t *testing.T) {
	now := time.Now()
	v4 := conns.Info{ID: 7, Transport: "tls", RemoteAddr: tcpAddr("10.1.2.3:5555"), Served: true, Since: now.Add(-time.Minute), Idle: 30 * time.Second,
		Counted: true, Protocol: echo.Protocol{}, Stats: transport.Stats{BytesRead: 1 << 20, BytesWritten: 10}, TLS: &conns.TLSInfo{ServerName: "a b", ALPN: "h2"}}
	v6 := conns.Info{ID: 8, Transport: "tcp", RemoteAddr: tcpAddr("[2001:db8::1]:5555"), Ending: true, Since: now}
	local := conns.Info{ID: 9, Transport: "tcp", RemoteAddr: &net.UnixAddr{Net: "unix", Name: "@x"}, Since: now,
		Labels: []transport.Label{{Key: "client", Value: "ab12"}, {Key: "protocol", Value: "websocket"}, {Key: "room", Value: "a b"}, {Key: "user", Value: "ann"}}}
	mapped := conns.Info{ID: 10, RemoteAddr: &net.TCPAddr{IP: net.ParseIP("10.9.9.9").To16(), Port: 1}, Since: now}
	for filter, want := range map[string]string{
		"":                                   "7 8 9 10",
		"id=7":                               "7",
		"id!=7 id<10":                        "8 9",
		"id>=9":                              "9 10",
		"listener=l":                         "7 8 9 10",
		"listener!=l":                        "",
		"peer=10.0.0.0/8":                    "7 10",
		"peer!=10.0.0.0/8":                   "8 9",
		"peer=10.1.2.3":                      "7",
		"peer==10.1.2.3:5555":                "7",
		"peer=10.1.2.3:5556":                 "",
		"peer=::ffff:10.1.2.3":               "7",
		"peer=::ffff:10.0.0.0/104":           "7 10",
		"peer=2001:db8::/32":                 "8",
		"peer=[2001:db8::1]:5555":            "8",
		"peer=unix:@x":                       "9",
		"transport=tls and protocol!=x":      "7",
		"protocol=echo.Protocol":             "7",
		"protocol=websocket":                 "9",
		"protocol!=websocket":                "7 8 10",
		"user=ann":                           "9",
		"user!=ann":                          "7 8 10",
		"user=bob":                           "",
		"client=ab12 user=ann":               "9",
		`label.room="a b"`:                   "9",
		"label.room!=7":                      "7 8 9 10",
		"state=serving":                      "7",
		"state!=handshaking":                 "7 8",
		"tls=true":                           "7",
		"tls!=true":                          "8 9 10",
		`sni="a b" AND alpn=h2`:              "7",
		"counted=false":                      "8 9 10",
		"age>59s":                            "7",
		"age<59s":                            "8 9 10",
		"idle>=30s":                          "7",
		"idle>30s":                           "",
		"read=1MiB":                          "7",
		"read>=1.0e3kb":                      "7",
		"bytes>1048585":                      "7",
		"written<10B":                        "8 9 10",
		"bytes=0 transport=tcp state=ending": "8",
	} {
		match, err := ParseFilter(filter)
		if err != nil {
			t.Errorf("%s: got error %v, want none", filter, err)
			continue
		}
		var got []string
		for _, i := range []*conns.Info{&v4, &v6, &local, &mapped} {
			if match("l", i) {
				got = append(got, map[uint64]string{7: "7", 8: "8", 9: "9", 10: "10"}[i.ID])
			}
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", filter, diff)
		}
	}
}

func TestClosedFilter(t *testing.T) {
	now := time.Now()
	e := conns.Info{ID: 7, RemoteAddr: tcpAddr("10.1.2.3:5555"), Since: now.Add(-time.Hour),
		Closed: now.Add(-time.Minute), Reason: conns.RefusedAddress}
	for filter, want := range map[string]bool{
		"reason=refused-too-many-connections-from-its-address":    true,
		`reason="refused: too many connections from its address"`: true,
		"reason!=refused-too-many-connections-from-its-address":   false,
		"reason=peer_closed":              false,
		"served=false ended>59s ended<2m": true,
		"age=1h":                          false, // an error
		"age<1h":                          true,
		"age>58m":                         true,
		"age>=1h":                         false,
		"peer=10.0.0.0/8":                 true,
	} {
		f, err := parseFilter(filter, closed)
		if err != nil {
			if filter != "age=1h" {
				t.Errorf("%s: got error %v, want none", filter, err)
			}
			continue
		}
		if got := f.matchConn("l", &e); got != want {
			t.Errorf("%s: got %t, want %t", filter, got, want)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	for filter, want := range map[string]string{
		"echo":                      `filter term "echo": no operator`,
		"=echo":                     `no field ""`,
		"lsitener=echo":             `allowed are id, listener, peer,`,
		"listener>echo":             "operators allowed after listener are = !=",
		"listener!echo":             "operators allowed after listener are = !=",
		"age=5m":                    "operators allowed after age are < <= > >=",
		"age>5":                     "allowed are durations such as",
		"age>-5s":                   "allowed are durations such as",
		"bytes>1MB5":                "allowed are sizes such as",
		"bytes>-1":                  "allowed are sizes such as",
		"bytes>NaN":                 "allowed are sizes such as",
		"bytes>1e30":                "allowed are sizes such as",
		"bytes>1XB":                 "allowed are sizes such as",
		"bytes>16777216TiB":         "allowed are sizes such as",
		"id=x":                      "allowed are whole numbers",
		"tls=yes":                   "allowed are true and false",
		"state=closed":              "allowed are handshaking, login, serving, ending",
		"peer=10.0.0.0/33":          "allowed are networks",
		"peer=10.0.0":               "allowed are networks",
		"peer=":                     "missing value",
		`sni="a`:                    "missing closing quote",
		strings.Repeat("id>1 ", 33): "allowed are at most 32",
	} {
		if _, err := ParseFilter(filter); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q in it", filter, err, want)
		}
	}
}

// A parsed filter has a text form with the same meaning, and matching does not panic.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"", "listener=echo peer=10.0.0.0/8 idle>30s", "bytes>1.5MiB and age<5m", `sni="a b" tls!=true`, "peer=[::1%eth0]:5", "reason=bad-input ended<1m",
		"peer=::ffff:1.2.3.4/100", "id>=18446744073709551615", `listener=""`, "a\"b\" \"", "peer=unix:@x state=ending"} {
		f.Add(s)
	}
	info := conns.Info{ID: 7, RemoteAddr: tcpAddr("10.1.2.3:5555"), Since: time.Now()}
	ended := info
	ended.Closed = time.Now()
	f.Fuzz(func(t *testing.T, s string) {
		for _, of := range []scope{live, closed} {
			one, err := parseFilter(s, of)
			if err != nil {
				continue
			}
			again, err := parseFilter(one.String(), of)
			if err != nil {
				t.Fatalf("text of %q: got %q, which is invalid: %v", s, one, err)
			}
			if again.String() != one.String() {
				t.Fatalf("text after parsing again: got %q, want %q", again, one)
			}
			if of == live {
				if got, want := again.matchConn("l", &info), one.matchConn("l", &info); got != want {
					t.Fatalf("match of %q: got %t, want %t as with %q", again, got, want, s)
				}
			} else {
				one.matchConn("l", &ended)
			}
		}
	})
}
