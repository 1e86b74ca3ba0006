package shell

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"goranch/internal/nearest"
	"goranch/internal/option"
)

// registry holds commands by name. Its methods are safe for concurrent use. The zero value is
// empty.
type registry struct {
	mu     sync.RWMutex
	byName map[string]*Command // names and aliases
}

// add adds all commands, or none if one of them is invalid.
func (r *registry) add(commands []Command) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	added := map[string]*Command{}
	var f option.Faults
	for _, c := range commands {
		if !c.validate(&f) {
			continue
		}
		// A caller can wrap the Run that Method has made, and retain the Call.
		c.reuseCall = c.method != 0 && c.method == reflect.ValueOf(c.Run).Pointer()
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			if old := cmp.Or(added[name], r.byName[name]); old != nil && !old.builtin {
				f.Add(fmt.Errorf("command %q: the name %q is in use", c.Name, name))
			}
			added[name] = &c
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	if r.byName == nil {
		r.byName = map[string]*Command{}
	}
	for name, c := range added {
		r.byName[name] = c
	}
	return nil
}

// list returns all commands, sorted by name.
func (r *registry) list() []*Command {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []*Command
	for name, c := range r.byName {
		if name == c.Name {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Command) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// find returns the command with the name or alias, or nil.
func (r *registry) find(name string) *Command {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[name]
}

// findBytes is find without an allocation for the name.
func (r *registry) findBytes(name []byte) *Command {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[string(name)]
}

// suggest returns the name most similar to an unknown one, among those that role may use; "" if
// none is similar.
func (r *registry) suggest(name string, role Role) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var names []string
	for candidate, c := range r.byName {
		if c.Role <= role {
			names = append(names, candidate)
		}
	}
	slices.Sort(names)
	return nearest.Name(name, names)
}

// maxName is the longest name of a command in bytes.
const maxName = 64

// validate adds every fault of the command to f, and reports whether it has none.
func (c *Command) validate(f *option.Faults) bool {
	valid := true
	bad := func(format string, args ...any) {
		valid = false
		f.Add(fmt.Errorf("command %q: %s", c.Name, fmt.Sprintf(format, args...)))
	}
	for _, name := range append([]string{c.Name}, c.Aliases...) {
		if !isName(name) {
			bad("name %q: allowed are 1 to %d letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit", name, maxName)
		}
	}
	if c.Run == nil {
		bad("Run is nil")
	}
	if c.Role >= numRoles {
		bad("Role %d: allowed are Guest, Viewer and Operator", c.Role)
	}
	if c.MinArgs < 0 || c.MaxArgs >= 0 && c.MaxArgs < c.MinArgs {
		bad("MinArgs %d and MaxArgs %d: allowed are a MinArgs from 0, and a MaxArgs from MinArgs or negative", c.MinArgs, c.MaxArgs)
	}
	seen := map[string]bool{}
	for _, flag := range c.Flags {
		if !isName(flag.Name) || seen[flag.Name] {
			bad("flag %q: allowed are names like those of commands, each once", flag.Name)
		}
		if seen[flag.Name] = true; flag.Value == "" && flag.Choices != nil {
			bad("flag %q: a switch cannot have Choices", flag.Name)
		}
	}
	return valid
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
