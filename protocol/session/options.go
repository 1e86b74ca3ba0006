package session

import (
	"encoding/json"
	"errors"
	"time"
)

// Defaults of [Options].
const (
	DefaultTTL       = 10 * time.Minute
	DefaultMax       = 100_000
	DefaultMaxOutput = 64 << 10
)

// Validate reports what cannot be used.
func (o Options[T]) Validate() error {
	if (o.Marshal == nil) != (o.Unmarshal == nil) {
		return errors.New("options Marshal and Unmarshal: allowed are both or neither")
	}
	return nil
}

func (o Options[T]) withDefaults() Options[T] {
	def(&o.TTL, DefaultTTL)
	def(&o.Max, DefaultMax)
	def(&o.MaxOutput, DefaultMaxOutput)
	if o.NewID == nil {
		o.NewID = RandomID
	}
	if o.Marshal == nil {
		o.Marshal = func(state *T) ([]byte, error) { return json.Marshal(state) }
		o.Unmarshal = func(b []byte, state *T) error { return json.Unmarshal(b, state) }
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
