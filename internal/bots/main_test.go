package bots

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also runs workers: the command starts its own executable, which is the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "bots" {
		os.Exit(Command(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}
