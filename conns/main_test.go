package conns_test

import (
	"testing"

	"go.uber.org/goleak"

	"goranch/internal/engine"
)

func TestMain(m *testing.M) {
	plain := engine.Plain
	engine.Plain = func(t any) bool { // the fake transport of these tests says so itself
		if f, ok := t.(fake); ok {
			return f.plain
		}
		return plain(t)
	}
	goleak.VerifyTestMain(m)
}
