package main

import (
	"context"
	"crypto/tls"
	"log/slog"

	"goranch/ranch"
	"goranch/transport"
)

// observeTLS returns an observer that logs the TLS parameters of each TLS connection that was
// served, at its end.
func observeTLS(log *slog.Logger) func(ranch.Event) {
	return func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded && e.Served && log.Enabled(context.Background(), slog.LevelDebug) {
			logTLS(log, e.Ref, e.Conn)
		}
	}
}

func logTLS(log *slog.Logger, ref string, conn *transport.Conn) {
	st, ok := conn.TLS()
	if !ok {
		return
	}
	log = log.With("listener", ref, "conn", conn.ID(), "version", tls.VersionName(st.Version), "sni", st.ServerName, "resumed", st.DidResume)
	if id := transport.IdentityOf(st); id != nil {
		log = log.With("client", id.Certificate.Subject.String(), "client_sha256", colons(id.Fingerprint))
	}
	log.Debug("TLS connection ended")
}
