// Package oteltrace turns the connections of listeners into spans of OpenTelemetry.
//
//	stop := server.Observe(oteltrace.Observer(provider))
//
// Each connection is a span "connection" from accept to the end. If its transport has a handshake,
// a span "handshake" in it lasts until the protocol was called. The spans are made when the
// connection has ended: a live connection costs nothing, and no span is lost or left open when
// observing begins or stops.
package oteltrace

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"goranch/conns"
	"goranch/internal/termtext"
	"goranch/ranch"
	"goranch/transport"
)

// scope is the name of the instrumentation.
const scope = "goranch/ranch/oteltrace"

// Observer returns an observer, for ranch.Options.Observer or ranch.Server.Observe, that makes the
// spans with a tracer of p. Their attributes are goranch.listener, goranch.reason (of the end),
// goranch.connection.id, goranch.received_bytes and goranch.sent_bytes, and those of OpenTelemetry
// in docs/metrics.md. client.address and network.peer.address differ behind a proxy. Text of peers
// is escaped. The sampler of p sees goranch.listener only; the others are set for spans that are
// recorded. Spans of protocols that failed or panicked, and of handshakes that failed, have the
// status Error. The span ends in the goroutine of the connection, so its processor must not wait.
func Observer(p trace.TracerProvider) func(ranch.Event) {
	tracer := p.Tracer(scope)
	return func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded {
			record(tracer, &e, time.Now())
		}
	}
}

// record makes the spans of a connection that has ended.
func record(tracer trace.Tracer, e *ranch.Event, end time.Time) {
	start := end.Add(-e.Duration)
	ctx, span := tracer.Start(context.Background(), "connection", trace.WithNewRoot(), trace.WithTimestamp(start),
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("goranch.listener", clean(e.Ref))))
	defer span.End(trace.WithTimestamp(end))
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attributes(e)...)
	failed := false
	switch e.Reason {
	case conns.Failed, conns.Panicked, conns.HandshakeFailed, conns.HandshakeTimeout:
		failed = true
		span.SetStatus(codes.Error, description(e))
	}
	if e.Handshake <= 0 {
		return
	}
	_, shake := tracer.Start(ctx, "handshake", trace.WithTimestamp(start))
	if failed && !e.Served {
		shake.SetStatus(codes.Error, description(e))
	}
	shake.End(trace.WithTimestamp(start.Add(e.Handshake)))
}

func description(e *ranch.Event) string {
	if e.Err == nil {
		return e.Reason.Error()
	}
	return clean(e.Err.Error())
}

// clean makes text valid for exporters, and safe for those who read it.
func clean(s string) string { return termtext.Line(s) }

func attributes(e *ranch.Event) []attribute.KeyValue {
	st := e.Conn.Stats()
	all := []attribute.KeyValue{
		attribute.String("goranch.reason", e.Reason.Error()),
		attribute.Int64("goranch.connection.id", int64(e.Conn.ID())),
		attribute.Int64("goranch.received_bytes", int64(st.BytesRead)),
		attribute.Int64("goranch.sent_bytes", int64(st.BytesWritten)),
	}
	remote := e.Conn.RemoteAddr()
	all = appendAddr(all, "client", remote)
	all = appendAddr(all, "network.peer", e.Conn.NetConn().RemoteAddr())
	all = appendAddr(all, "server", e.Conn.LocalAddr())
	switch remote.(type) {
	case *net.TCPAddr:
		all = append(all, attribute.String("network.transport", "tcp"))
	case *net.UnixAddr:
		all = append(all, attribute.String("network.transport", "unix"))
	}
	return appendTLS(all, e.Conn)
}

func appendAddr(all []attribute.KeyValue, prefix string, addr net.Addr) []attribute.KeyValue {
	switch a := addr.(type) {
	case nil:
		return all
	case *net.TCPAddr:
		return append(all, attribute.String(prefix+".address", clean(a.AddrPort().Addr().Unmap().String())), attribute.Int(prefix+".port", a.Port))
	default:
		return append(all, attribute.String(prefix+".address", clean(a.String())))
	}
}

func appendTLS(all []attribute.KeyValue, conn *transport.Conn) []attribute.KeyValue {
	st, ok := conn.TLS()
	if !ok {
		return all
	}
	all = append(all,
		attribute.String("tls.protocol.version", strings.TrimPrefix(tls.VersionName(st.Version), "TLS ")),
		attribute.String("tls.cipher", tls.CipherSuiteName(st.CipherSuite)),
		attribute.Bool("tls.resumed", st.DidResume))
	if st.ServerName != "" {
		all = append(all, attribute.String("tls.client.server_name", clean(st.ServerName)))
	}
	return all
}
