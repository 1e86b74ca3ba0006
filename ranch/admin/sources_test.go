package admin_test

import (
	"context"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
	"goranch/transport/proxy"
)

func TestSources(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	mem := new(transport.Mem)
	if _, err := s.server.StartListener("proxied", proxy.Transport{Inner: mem, Local: proxy.Require},
		ranch.Options{Addr: "proxied", Logger: discardLogger}, echo.Protocol{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listener("proxied").Stop() })
	for _, c := range []struct {
		ip   string
		text string
	}{
		{"10.0.0.1", "1"}, {"10.0.0.1", "22"}, {"10.0.0.2", "12345"}, {"2001:db8::1", "1"}, {"2001:db8::2:0", "2"}, {"2001:db8:0:1::1", "3"},
	} {
		ip, server := net.ParseIP(c.ip), net.IPv4zero
		if ip.To4() == nil {
			server = net.IPv6zero
		}
		header := &transport.ProxyHeader{Source: &net.TCPAddr{IP: ip, Port: 1}, Destination: &net.TCPAddr{IP: server}}
		nc, err := proxy.Transport{Inner: mem, Header: header}.Dial(context.Background(), "proxied")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		roundTrip(t, nc, c.text)
	}
	js := s.jsonClient()
	type row struct {
		source      string
		connections float64
	}
	for request, want := range map[string][]row{
		"sources listener=proxied":                             {{"10.0.0.1", 2}, {"2001:db8::/64", 2}, {"10.0.0.2", 1}, {"2001:db8:0:1::/64", 1}},
		"sources listener=proxied --sort read --limit 2":       {{"10.0.0.2", 1}, {"10.0.0.1", 2}},
		"sources peer=2001:db8::/64 --sort written":            {{"2001:db8::/64", 2}},
		"sources peer=2001:db8::/32 read>0 --sort bytes":       {{"2001:db8::/64", 2}, {"2001:db8:0:1::/64", 1}},
		"sources listener=shell":                               {{"local", 1}},
		"sources --filter 'listener=proxied peer=10.9.0.0/16'": nil,
	} {
		a := js.json(request)
		var got []row
		for _, r := range a.rows(t) {
			got = append(got, row{r["source"].(string), r["connections"].(float64)})
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", request, diff)
		}
		if request == "sources listener=proxied --sort read --limit 2" && a.Total != 4 {
			t.Errorf("%s: got total %d, want 4", request, a.Total)
		}
	}
	for request, want := range map[string]string{
		"sources --limit 0":       `flag --limit "0": allowed are the numbers 1 to 1000`,
		"sources --sort peer":     `flag --sort "peer": allowed are connections, read, written, bytes`,
		"sources listener=absent": `no listener "absent"; listeners: echo, proxied, shell`,
	} {
		if a := js.json(request); a.Error == nil || a.Error.Message != want {
			t.Errorf("%s: got %+v, want the error %s", request, a.Error, want)
		}
	}
}
