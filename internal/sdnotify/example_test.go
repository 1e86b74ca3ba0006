package sdnotify_test

import (
	"fmt"
	"os"

	"goranch/internal/sdnotify"
)

// A service that was not started by a service manager sends nothing.
func Example() {
	os.Unsetenv("NOTIFY_SOCKET")
	n, err := sdnotify.New(os.Getenv, os.Getpid())
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(n.Enabled(), n.Send(sdnotify.Ready, sdnotify.Status("serving")))
	// Output: false <nil>
}
