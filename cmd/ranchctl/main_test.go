package main

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() { // settings of whoever runs the tests are not theirs
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "RANCHCTL_") || name == "NO_COLOR" {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}
