package main

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() { // settings of the user must not affect the tests
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "RANCHD_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("RANCHD_ADMIN", "none") // several test processes would share the default socket
	os.Setenv("RANCHD_ADMIN_HTTP", "none")
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, dir := range removeAtEnd {
			os.RemoveAll(dir)
		}
		os.Exit(code)
	}))
}

// removeAtEnd are directories that all tests share.
var removeAtEnd []string
