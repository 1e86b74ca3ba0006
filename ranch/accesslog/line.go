package accesslog

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"goranch/internal/listenaddr"
	"goranch/internal/termtext"
	"goranch/transport"
)

// maxText limits the texts of a line, in bytes before they are escaped.
const maxText = 256

// lines formats lines.
type lines struct {
	second int64  // Unix time
	date   []byte // it in RFC 3339, without the zone
}

// append appends the line for the end of a connection.
func (f *lines) append(b []byte, n *entry) []byte {
	b = append(f.appendTime(append(b, `{"time":"`...), n.at), `","listener":`...)
	b = appendText(b, n.ref)
	b = strconv.AppendUint(append(b, `,"id":`...), n.id, 10)
	b = appendAddr(append(b, `,"peer":`...), n.peer)
	b = appendAddr(append(b, `,"local":`...), n.local)
	b = appendText(append(b, `,"transport":`...), n.transport)
	b = appendText(append(b, `,"reason":`...), n.reason.Error())
	b = strconv.AppendBool(append(b, `,"served":`...), n.served)
	us := max(n.duration.Round(time.Microsecond).Microseconds(), 0)
	b = strconv.AppendInt(append(b, `,"duration":`...), us/1e6, 10)
	b = appendMicros(b, us%1e6)
	b = strconv.AppendUint(append(b, `,"received":`...), n.received, 10)
	b = strconv.AppendUint(append(b, `,"sent":`...), n.sent, 10)
	if n.tls != nil {
		b = appendTLS(append(b, `,"tls":`...), n.tls)
	}
	if len(n.labels) > 0 {
		b = appendLabels(append(b, `,"labels":`...), n.labels)
	}
	if n.err != nil {
		b = appendText(append(b, `,"error":`...), cause(n.err, n.peer).Error())
	}
	return append(b, "}\n"...)
}

// cause returns the error inside an error of the connection to peer, whose text would repeat the
// addresses of the line.
func cause(err error, peer net.Addr) error {
	if op, ok := err.(*net.OpError); ok && op.Err != nil {
		if a, ok := op.Addr.(*net.TCPAddr); ok && peer == net.Addr(a) {
			return op.Err
		}
	}
	return err
}

// appendTime appends a time as RFC 3339 with microseconds. Most lines have the second of the line
// before.
func (f *lines) appendTime(b []byte, at int64) []byte {
	t := time.Unix(0, at)
	if f.date == nil || t.Unix() != f.second {
		f.second, f.date = t.Unix(), t.UTC().AppendFormat(f.date[:0], "2006-01-02T15:04:05")
	}
	return append(appendMicros(append(b, f.date...), int64(t.Nanosecond()/1e3)), 'Z')
}

// appendMicros appends a period and six digits.
func appendMicros(b []byte, n int64) []byte {
	at := len(b)
	b = strconv.AppendInt(b, 1e6+n, 10)
	b[at] = '.'
	return b
}

// appendAddr appends an address as listenaddr.String has it.
func appendAddr(b []byte, a net.Addr) []byte {
	if t, ok := a.(*net.TCPAddr); ok && t.Zone == "" {
		if ap := t.AddrPort(); ap.IsValid() {
			ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
			return append(ap.AppendTo(append(b, '"')), '"')
		}
	}
	return appendText(b, listenaddr.String(a))
}

func appendTLS(b []byte, s *tlsState) []byte {
	b = appendText(append(b, `{"version":`...), tls.VersionName(s.version))
	b = appendText(append(b, `,"cipher":`...), tls.CipherSuiteName(s.cipher))
	b = appendText(append(b, `,"sni":`...), s.sni)
	b = appendText(append(b, `,"alpn":`...), s.alpn)
	client := ""
	if s.client != nil {
		client = s.client.Subject.String()
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
