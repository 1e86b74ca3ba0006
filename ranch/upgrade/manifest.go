package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
)

// version is that of the messages between the two processes.
const version = 1

// Limits of a manifest. They only detect a broken one.
const (
	maxSockets   = 20_000
	maxProcesses = 100
)

// manifest is the first message of the predecessor to the successor. The descriptors follow: those
// of Sockets, then those of Processes.
type manifest struct {
	Version    int           `json:"version"`
	PID        int           `json:"pid"`        // of the predecessor
	Generation int           `json:"generation"` // of the successor; that of the first process is 1
	Sockets    []socketEntry `json:"sockets,omitempty"`
	Processes  []process     `json:"processes"` // that run, the predecessor last
}

// socketEntry describes a listening socket.
type socketEntry struct {
	Ref   string `json:"ref"`   // the name of its listener
	Addr  string `json:"addr"`  // the address that was asked for, such as ":0"
	Bound string `json:"bound"` // the address to which it is bound, as listenaddr.String has it
	// Inherited says that a third process owns the socket, such as systemd.
	Inherited bool `json:"inherited,omitempty"`
	// OwnFile says that the file of the Unix socket belongs to these processes, so that the last
	// one removes it.
	OwnFile bool `json:"ownFile,omitempty"`
}

// process is a process of an earlier generation that has not ended. Its descriptor is the reading
// end of a pipe that nothing is written to; the end of the process closes the other end.
type process struct {
	PID        int `json:"pid"`
	Generation int `json:"generation"`
	fd         int
}

var errManifest = errors.New("bad manifest")

// parseManifest reads a manifest. The error says why this process cannot be the successor.
func parseManifest(b []byte) (m manifest, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %w", errManifest, err)
	}
	if m.Version != version {
		return m, fmt.Errorf("%w: it has version %d, and this program understands version %d only", errManifest, m.Version, version)
	}
	if m.PID < 1 || m.Generation < 2 {
		return m, fmt.Errorf("%w: process %d, generation %d", errManifest, m.PID, m.Generation)
	}
	if len(m.Sockets) > maxSockets || len(m.Processes) == 0 || len(m.Processes) > maxProcesses {
		return m, fmt.Errorf("%w: %d sockets and %d processes: allowed are up to %d and 1 to %d",
			errManifest, len(m.Sockets), len(m.Processes), maxSockets, maxProcesses)
	}
	for _, s := range m.Sockets {
		if s.Ref == "" || s.Addr == "" || s.Bound == "" {
			return m, fmt.Errorf("%w: socket of listener %q, requested as %q, bound to %q", errManifest, s.Ref, s.Addr, s.Bound)
		}
	}
	for _, p := range m.Processes {
		if p.PID < 1 || p.Generation < 1 || p.Generation >= m.Generation {
			return m, fmt.Errorf("%w: process %d of generation %d", errManifest, p.PID, p.Generation)
		}
	}
	return m, nil
}
