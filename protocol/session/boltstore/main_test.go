package boltstore_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if f := childModes[os.Getenv("BOLTSTORE_CHILD")]; f != nil {
		f(os.Getenv("BOLTSTORE_FILE"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
