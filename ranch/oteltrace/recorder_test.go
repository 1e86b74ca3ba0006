package oteltrace_test

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// recorder is a TracerProvider that keeps the spans. It stands for an SDK.
type recorder struct {
	noop.TracerProvider
	dropAll bool // the sampler records no span

	mu    sync.Mutex
	spans []*span
}

// span is a span that the recorder keeps.
type span struct {
	noop.Span
	recorder   *recorder
	name       string
	parent     *span // nil: a root
	config     trace.SpanConfig
	start, end time.Time
	status     codes.Code
	text       string
	attributes map[attribute.Key]attribute.Value
}

func (r *recorder) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{recorder: r} }

type tracer struct {
	noop.Tracer
	recorder *recorder
}

func (t tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	config := trace.NewSpanStartConfig(opts...)
	s := &span{recorder: t.recorder, name: name, config: config, start: config.Timestamp(), attributes: map[attribute.Key]attribute.Value{}}
	if !config.NewRoot() {
		s.parent, _ = trace.SpanFromContext(ctx).(*span)
	}
	s.SetAttributes(config.Attributes()...)
	return trace.ContextWithSpan(ctx, s), s
}

func (s *span) IsRecording() bool { return !s.recorder.dropAll }

func (s *span) SetAttributes(all ...attribute.KeyValue) {
	for _, a := range all {
		s.attributes[a.Key] = a.Value
	}
}

func (s *span) SetStatus(code codes.Code, text string) { s.status, s.text = code, text }

func (s *span) End(opts ...trace.SpanEndOption) {
	config := trace.NewSpanEndConfig(opts...)
	s.end = config.Timestamp()
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	s.recorder.spans = append(s.recorder.spans, s)
}

// ended returns the spans with that name that have ended.
func (r *recorder) ended(name string) []*span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*span
	for _, s := range r.spans {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}
