package nodes

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// replicas returns an error if a stream of the account has no leader, or a copy that is offline or
// lags behind.
func replicas(ctx context.Context, nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("JetStream: %w", err)
	}
	streams := js.ListStreams(ctx)
	var faults []string
	for s := range streams.Info() {
		if fault := replicaFault(s); fault != "" {
			faults = append(faults, fault)
		}
	}
	if err := streams.Err(); err != nil {
		return fmt.Errorf("the streams of JetStream: %w", err)
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// replicaFault returns what is wrong with the copies of a stream; "" is nothing.
func replicaFault(s *jetstream.StreamInfo) string {
	if s.Config.Replicas <= 1 || s.Cluster == nil {
		return ""
	}
	name := "stream " + s.Config.Name
	switch {
	case s.Cluster.Leader == "":
		return name + " has no leader"
	case len(s.Cluster.Replicas)+1 < s.Config.Replicas:
		return fmt.Sprintf("%s has %d copies of %d", name, len(s.Cluster.Replicas)+1, s.Config.Replicas)
	}
	for _, r := range s.Cluster.Replicas {
		switch {
		case r.Offline:
			return fmt.Sprintf("%s: the copy at %s is offline", name, r.Name)
		case !r.Current:
			return fmt.Sprintf("%s: the copy at %s is %d messages behind", name, r.Name, r.Lag)
		}
	}
	return ""
}
