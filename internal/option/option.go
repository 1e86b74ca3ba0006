// Package option sets defaults in options structs and collects their faults, so that all packages
// of this module report a bad option in the same form.
//
//	func (o Options) withDefaults() Options {
//		option.Default(&o.Timeout, 5*time.Second)
//		return o
//	}
//
//	func (o Options) Validate() error {
//		var f option.Faults
//		f.NotNegative("MaxItems", o.MaxItems, "0 for 64")
//		return f.Err()
//	}
package option

import (
	"errors"
	"fmt"
	"time"
)

// Default sets *field to value if it has its zero value.
func Default[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Faults collects the faults of one options struct. Its zero value has none.
type Faults struct{ errs []error }

// Bad adds a fault: field has a value that is not among those allowed. allowed completes the
// sentence "allowed are ...".
func (f *Faults) Bad(field string, value any, allowed string) {
	f.errs = append(f.errs, fmt.Errorf("option %s %v: allowed are %s", field, value, allowed))
}

// Add adds err, for example that of a nested struct; nil adds nothing.
func (f *Faults) Add(err error) {
	if err != nil {
		f.errs = append(f.errs, err)
	}
}

// NotNegative adds a fault if n is negative. zero states the meaning of 0: "0 for 64".
func (f *Faults) NotNegative(field string, n int, zero string) {
	if n < 0 {
		f.Bad(field, n, "positive numbers, and "+zero)
	}
}

// CountOrNoLimit adds a fault if n is negative but not -1, the value of transport.NoLimit. zero
// states the meaning of 0.
func (f *Faults) CountOrNoLimit(field string, n int, zero string) {
	if n < -1 {
		f.Bad(field, n, "positive numbers, "+zero+", and NoLimit")
	}
}

// Positive adds a fault if d is negative. zero states the meaning of 0: "0 for 5s".
func (f *Faults) Positive(field string, d time.Duration, zero string) {
	if d < 0 {
		f.Bad(field, d, "positive durations, and "+zero)
	}
}

// DurationOrNoTimeout adds a fault if d is negative but not -1, the value of transport.NoTimeout.
// zero states the meaning of 0.
func (f *Faults) DurationOrNoTimeout(field string, d time.Duration, zero string) {
	if d < -1 {
		f.Bad(field, d, "positive durations, "+zero+", and NoTimeout")
	}
}

// Err returns all faults, joined by errors.Join; nil if there are none.
func (f *Faults) Err() error { return errors.Join(f.errs...) }
