package shell

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Registry is the commands of a shell, by name. Its methods may be called from any goroutine, also while it
// is served. The zero value is empty.
type Registry struct {
	mu     sync.RWMutex
	byName map[string]*Command // aliases too
}

// Add adds commands: all, or, if one of them cannot be used, none. The error joins all faults and is [ErrCommand].
// A name may be that of the built-in commands status, connections, stats and version, which it replaces; no other name
// may be taken already.
func (r *Registry) Add(commands ...Command) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	added := map[string]*Command{}
	var faults []error
	for _, c := range commands {
		if err := c.validate(); err != nil {
			faults = append(faults, err)
			continue
		}
		c.frugal = c.method != 0 && c.method == reflect.ValueOf(c.Run).Pointer() // else Run is somebody's around it
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			if old := cmp.Or(added[name], r.byName[name]); old != nil && !old.builtin {
				faults = append(faults, fmt.Errorf("%w: %s: the name %s is taken", ErrCommand, c.Name, name))
			}
			added[name] = &c
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	if r.byName == nil {
		r.byName = map[string]*Command{}
	}
	for name, c := range added {
		r.byName[name] = c
	}
	return nil
}

// Commands returns all commands, sorted by name.
func (r *Registry) Commands() []Command {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Command
	for name, c := range r.byName {
		if name == c.Name {
			all = append(all, *c)
		}
	}
	slices.SortFunc(all, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Lookup returns the command of that name or alias.
func (r *Registry) Lookup(name string) (Command, bool) {
	if c := r.find(name); c != nil {
		return *c, true
	}
	return Command{}, false
}

func (r *Registry) find(name string) *Command {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[name]
}

// findBytes is find of a name in a line, for which nothing is allocated.
func (r *Registry) findBytes(name []byte) *Command {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[string(name)]
}

// maxName is the longest name of a command in bytes.
const maxName = 64

// validate reports every fault of a command.
func (c *Command) validate() error {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: %q: %s", ErrCommand, c.Name, fmt.Sprintf(format, args...)))
	}
	for _, name := range append([]string{c.Name}, c.Aliases...) {
		if !isName(name) {
			bad("name %q: allowed are 1 to %d letters, digits, \"-\", \"_\" and \".\", a letter or digit first", name, maxName)
		}
	}
	if c.Run == nil {
		bad("Run is missing")
	}
	if c.Role >= numRoles {
		bad("Role %d: allowed are Guest, Viewer and Operator", c.Role)
	}
	if c.MinArgs < 0 || c.MaxArgs >= 0 && c.MaxArgs < c.MinArgs {
		bad("MinArgs %d and MaxArgs %d: allowed are numbers from 0, the second not below the first or negative", c.MinArgs, c.MaxArgs)
	}
	seen := map[string]bool{}
	for _, f := range c.Flags {
		if !isName(f.Name) || seen[f.Name] {
			bad("flag %q: allowed are names like those of commands, each once", f.Name)
		}
		if seen[f.Name] = true; f.Value == "" && f.Choices != nil {
			bad("flag %s: a switch has no Choices", f.Name)
		}
	}
	return errors.Join(faults...)
}

func isName(s string) bool {
	if s == "" || len(s) > maxName || strings.IndexByte("-_.", s[0]) >= 0 {
		return false
	}
	for _, b := range []byte(s) {
		if !isNameByte(b) {
			return false
		}
	}
	return true
}

func isNameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_' || b == '.'
}

// suggest returns the name nearest to one that there is not, of those that role may use; "" if none is near.
func (r *Registry) suggest(name string, role Role) string {
	if len(name) > maxName {
		return ""
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	best, least := "", 1+min(2, (len(name)+1)/3)
	for candidate, c := range r.byName {
		if c.Role > role {
			continue
		}
		d := distance(name, candidate)
		if d < least || d == least && best != "" && candidate < best {
			best, least = candidate, d
		}
	}
	return best
}

// distance is how many letters have to be added, left out, replaced, or swapped with their neighbour.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differs := 1
			if a[i-1] == b[j-1] {
				differs = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+differs)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
