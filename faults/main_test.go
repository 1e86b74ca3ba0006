package faults_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv names the function that runs in place of the tests, in a process of its own.
const childEnv = "GORANCH_FAULTS_CHILD"

var childProcesses = map[string]func(){}

func TestMain(m *testing.M) {
	if child, ok := childProcesses[os.Getenv(childEnv)]; ok {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}
