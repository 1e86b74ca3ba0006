package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"goranch/internal/descriptors"
	"goranch/protocol/shell"
)

func (a *admin) descriptorCommands() []shell.Command {
	return []shell.Command{
		{Name: "descriptors", Usage: "[--kinds]", Role: shell.Viewer, Run: a.descriptors,
			Help:  "Show the number of open descriptors of the process and its limit.",
			Flags: []shell.Flag{{Name: "kinds", Help: "Count the descriptors by kind (Linux). This inspects each descriptor."}}},
	}
}

func (a *admin) descriptors(_ context.Context, c *shell.Call) error {
	open, limit, err := descriptors.Count()
	if err != nil {
		return err
	}
	f := shell.Fields{
		{Key: "open", Title: "Open", Value: open},
		{Key: "limit", Title: "Limit", Value: limit},
		{Key: "share", Title: "Fraction in use", Value: math.Round(float64(open)/float64(limit)*1e4) / 1e4},
	}
	if c.Flags["kinds"] != "" {
		kinds, err := descriptorKinds()
		if err != nil {
			return err
		}
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			f = append(f, shell.Field{Key: kind, Title: "  " + kind, Value: kinds[kind]})
		}
	}
	c.Return(f)
	return nil
}

// descriptorKinds counts the open descriptors by kind: "socket", "pipe", "eventpoll", "file" and so
// on.
func descriptorKinds() (map[string]int, error) {
	const dir = "/proc/self/fd"
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("kinds of descriptors: %w", errors.ErrUnsupported)
	}
	kinds := map[string]int{}
	for _, n := range names {
		target, err := os.Readlink(filepath.Join(dir, n.Name()))
		if err != nil {
			continue // closed in the meantime
		}
		kind, _, ok := strings.Cut(target, ":[")
		switch {
		case ok: // socket:[123], pipe:[123]
		case strings.HasPrefix(target, "anon_inode:"):
			kind = strings.Trim(strings.TrimPrefix(target, "anon_inode:"), "[]")
		default:
			kind = "file"
		}
		kinds[kind]++
	}
	return kinds, nil
}
