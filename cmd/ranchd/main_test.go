package main

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() { // settings of whoever runs the tests are not theirs
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "RANCHD_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("RANCHD_ADMIN", "none") // they run at the same time, and there is one such socket
	goleak.VerifyTestMain(m)
}
