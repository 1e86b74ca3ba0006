package admin

import (
	"math"
	"strconv"
	"strings"
	"time"

	"goranch/protocol/shell"
)

// parseFilter returns the filter of a command, which its arguments and its flags --filter and
// --listener describe together.
func (a *admin) parseFilter(c *shell.Call, of scope) (filter, error) {
	words, err := splitTerms(c.Flags["filter"])
	if err != nil {
		return filter{}, err
	}
	if name := c.Flags["listener"]; name != "" {
		words = append(words, "listener="+name)
	}
	f, err := newFilter(append(words, c.Args...), of)
	if err != nil {
		return filter{}, err
	}
	return f, a.checkListeners(f)
}

// checkListeners returns an error if the filter selects a listener that does not exist, which would
// otherwise look like a listener without connections.
func (a *admin) checkListeners(f filter) error {
	for _, t := range f.terms {
		if name, ok := strings.CutPrefix(t.text, "listener="); ok {
			if _, err := a.listener(strings.TrimPrefix(name, "=")); err != nil {
				return err
			}
		}
	}
	return nil
}

// intFlag returns the value of a flag, a whole number from lowest to highest.
func intFlag(c *shell.Call, name string, defaultValue, lowest, highest int) (int, error) {
	s, given := c.Flags[name]
	if !given {
		return defaultValue, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lowest || n > highest {
		return 0, shell.Usage("flag --%s %q: allowed are the numbers %d to %d", name, s, lowest, highest)
	}
	return n, nil
}

// infinity is the value of "infinity".
const infinity = time.Duration(math.MaxInt64)

// durationFlag returns the value of a flag, a duration from lowest to highest. "infinity" is
// allowed if highest is infinity.
func durationFlag(c *shell.Call, name string, defaultValue, lowest, highest time.Duration) (time.Duration, error) {
	s, given := c.Flags[name]
	if !given {
		return defaultValue, nil
	}
	if s == "infinity" && highest == infinity {
		return infinity, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < lowest || d > highest {
		if highest == infinity {
			return 0, shell.Usage("flag --%s %q: allowed are durations from %v, and infinity", name, s, lowest)
		}
		return 0, shell.Usage("flag --%s %q: allowed are durations from %v to %v", name, s, lowest, highest)
	}
	return d, nil
}
