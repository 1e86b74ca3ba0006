package natsengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// storeDir is the directory of a server. A file in it names the node, and is locked.
type storeDir struct{ marker *os.File }

const markerName = "ranchd-node"

// openStore creates the directory if it does not exist, and locks it. It refuses the directory
// of another node, and that of a standalone node for a node with peers and the reverse, because
// nats-server would find no streams in it.
func openStore(dir, node string, clustered bool) (*storeDir, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, markerName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &storeDir{f}
	if err := s.check(dir, node, clustered); err != nil {
		s.close()
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	return s, nil
}

func (s *storeDir) check(dir, node string, clustered bool) error {
	if err := lockFile(s.marker); err != nil {
		return fmt.Errorf("another process uses it: %w", err)
	}
	kind := "alone"
	if clustered {
		kind = "with peers"
	}
	want := node + "\n" + kind + "\n"
	b := make([]byte, 1024)
	n, _ := s.marker.ReadAt(b, 0)
	if n == 0 {
		if names, err := os.ReadDir(dir); err == nil && len(names) > 1 {
			return errors.New("it contains other files; use an empty directory")
		}
		if _, err := s.marker.WriteAt([]byte(want), 0); err != nil {
			return err
		}
		return s.marker.Sync()
	}
	if got := string(b[:n]); got != want {
		name, other, _ := strings.Cut(strings.TrimSpace(got), "\n")
		if name != node {
			return fmt.Errorf("it belongs to node %.64q; use another directory, or that name", name)
		}
		return fmt.Errorf("it was created by a node %.64s, and this node is %s: use an empty directory", other, kind)
	}
	return nil
}

func (s *storeDir) close() { s.marker.Close() }
