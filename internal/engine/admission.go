package engine

import "context"

type admissionKey struct{}

// WithAdmission returns a context for Handshake. A transport that learns the address of the client
// from a PROXY header calls [Admit] with it.
func WithAdmission(ctx context.Context, admit func() error) context.Context {
	return context.WithValue(ctx, admissionKey{}, admit)
}

// Admit calls the function of WithAdmission, if there is one. After an error the connection must be
// closed without a further handshake.
func Admit(ctx context.Context) error {
	if admit, ok := ctx.Value(admissionKey{}).(func() error); ok {
		return admit()
	}
	return nil
}
