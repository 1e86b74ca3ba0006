package ranch_test

import (
	"crypto/tls"
	"testing"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

// A listener for one version of TLS refuses the other one in the handshake.
func TestTLSVersions(t *testing.T) {
	only := func(version uint16) transport.TLS {
		c := testTLSConfig().Clone()
		c.MinVersion, c.MaxVersion = version, version
		return transport.TLS{Config: c}
	}
	for server, client := range map[uint16]uint16{tls.VersionTLS13: tls.VersionTLS12, tls.VersionTLS12: tls.VersionTLS13} {
		t.Run(tls.VersionName(server), func(t *testing.T) {
			for _, addr := range []string{loopbackAddr(t), unixAddr(t)} {
				m := testTransport{"", only(server), func(testing.TB) string { return addr }}
				l, rec := m.startListener(t, ranch.Options{}, greetAndEcho)
				v := m.servedClients(t, l, 1)[0]
				v.checkEcho(t)
				if got := v.nc.(*tls.Conn).ConnectionState().Version; got != server {
					t.Errorf("got %s, want %s", tls.VersionName(got), tls.VersionName(server))
				}
				if err := receive(t, "the client is refused", newClient(t, only(client), dialAddr(l)).served); err == nil {
					t.Errorf("a client with %s was served", tls.VersionName(client))
				}
				if e := rec.wait(t, ranch.ConnEnded, 1)[0]; e.Reason != conns.HandshakeFailed {
					t.Errorf("got reason %v, %v, want %v", e.Reason, e.Err, conns.HandshakeFailed)
				}
				v.checkEcho(t)
			}
		})
	}
}
