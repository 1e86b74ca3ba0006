package idle_test

import (
	"testing"

	"go.uber.org/goleak"
)

// goleak also verifies that the poller ends when no connection is parked.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
