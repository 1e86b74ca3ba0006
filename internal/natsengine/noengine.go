//go:build noengine

package natsengine

const built = false

func startServer(Options, *serverLog) (embedded, error) { return nil, ErrNotBuilt }
