package upgrade_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes the test binary a server that can be upgraded.
const childEnv = "RANCH_UPGRADE_TEST_DIR"

// child is the process of a server; nil on systems without upgrades.
var child func(dir string) int

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" && child != nil {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}
