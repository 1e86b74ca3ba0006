package oteltrace_test

import (
	"fmt"

	"go.opentelemetry.io/otel/trace/noop"

	"goranch/ranch"
	"goranch/ranch/oteltrace"
)

func Example() {
	provider := noop.NewTracerProvider() // or that of an SDK
	var server ranch.Server
	stop := server.Observe(oteltrace.Observer(provider))
	defer stop()
	fmt.Println(len(server.Listeners()))
	// Output: 0
}
