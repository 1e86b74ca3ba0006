package accesslog

import (
	"crypto/tls"
	"strconv"
	"time"
	"unicode/utf8"

	"goranch/internal/listenaddr"
	"goranch/internal/termtext"
	"goranch/ranch"
	"goranch/transport"
)

// maxText limits the texts of a line, in bytes before they are escaped.
const maxText = 256

// timeFormat is RFC 3339 with microseconds.
const timeFormat = "2006-01-02T15:04:05.000000Z07:00"

// appendLine appends the line for the end of a connection.
func appendLine(b []byte, e *ranch.Event, now time.Time) []byte {
	c := e.Conn
	b = append(now.UTC().AppendFormat(append(b, `{"time":"`...), timeFormat), `","listener":`...)
	b = appendText(b, e.Ref)
	b = strconv.AppendUint(append(b, `,"id":`...), c.ID(), 10)
	b = appendText(append(b, `,"peer":`...), listenaddr.String(c.RemoteAddr()))
	b = appendText(append(b, `,"local":`...), listenaddr.String(c.LocalAddr()))
	b = appendText(append(b, `,"transport":`...), c.Transport().Name())
	b = appendText(append(b, `,"reason":`...), e.Reason.Error())
	b = strconv.AppendBool(append(b, `,"served":`...), e.Served)
	b = strconv.AppendFloat(append(b, `,"duration":`...), e.Duration.Seconds(), 'f', 6, 64)
	st := c.Stats()
	b = strconv.AppendUint(append(b, `,"received":`...), st.BytesRead, 10)
	b = strconv.AppendUint(append(b, `,"sent":`...), st.BytesWritten, 10)
	if state, ok := c.TLS(); ok && state.HandshakeComplete {
		b = appendTLS(append(b, `,"tls":`...), &state)
	}
	if labels := c.Labels(); len(labels) > 0 {
		b = appendLabels(append(b, `,"labels":`...), labels)
	}
	if e.Err != nil {
		b = appendText(append(b, `,"error":`...), e.Err.Error())
	}
	return append(b, "}\n"...)
}

// appendTLS is not inlined, so that a connection without TLS needs less stack.
//
//go:noinline
func appendTLS(b []byte, s *tls.ConnectionState) []byte {
	b = appendText(append(b, `{"version":`...), tls.VersionName(s.Version))
	b = appendText(append(b, `,"cipher":`...), tls.CipherSuiteName(s.CipherSuite))
	b = appendText(append(b, `,"sni":`...), s.ServerName)
	b = appendText(append(b, `,"alpn":`...), s.NegotiatedProtocol)
	client := ""
	if len(s.VerifiedChains) > 0 {
		client = s.VerifiedChains[0][0].Subject.String()
	}
	return append(appendText(append(b, `,"client":`...), client), '}')
}

func appendLabels(b []byte, labels []transport.Label) []byte {
	b = append(b, '{')
	for i, l := range labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, l.Key), ':')
		b = appendText(b, l.Value)
	}
	return append(b, '}')
}

// appendText appends a string, cut to maxText.
func appendText(b []byte, s string) []byte {
	if len(s) > maxText {
		cut := maxText
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return termtext.AppendJSON(b, s)
}
