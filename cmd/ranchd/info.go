package main

import (
	"log/slog"
	"maps"
	"slices"
)

// logInfo logs the state and the counters of each listener.
func (d *daemon) logInfo() {
	for _, r := range d.all() {
		info := r.l.Info()
		reasons := make([]any, 0, len(info.Reasons))
		for _, r := range slices.Sorted(maps.Keys(info.Reasons)) {
			reasons = append(reasons, slog.Uint64(r.Error(), info.Reasons[r]))
		}
		d.log.Info("listener info", "listener", info.Ref, "status", string(info.Status), "transport", info.Transport, "addr", info.Addr.String(),
			"max", formatCap(info.MaxConnections), "active", info.ActiveConnections, "all", info.AllConnections, "peak", info.PeakConnections,
			"acceptors", info.NumAcceptors, "waiting_acceptors", info.WaitingAcceptors, "sockets", info.NumListenSockets,
			"accepted", info.Accepted, "terminated", info.Terminated, "served", info.Served,
			"handshake_failed", info.HandshakeFailed, "refused", info.Refused, "accept_errors", info.AcceptErrors,
			slog.Group("reasons", reasons...))
	}
}
