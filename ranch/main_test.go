package ranch_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv names the function that runs in place of the tests: some faults need a process of their
// own.
const childEnv = "GORANCH_TEST_CHILD"

var childProcesses = map[string]func(){}

func TestMain(m *testing.M) {
	if child, ok := childProcesses[os.Getenv(childEnv)]; ok {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}
