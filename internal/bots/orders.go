package bots

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// orders takes lines of orders out of a stream.
type orders struct{ part []byte }

func (in *orders) read(b []byte, obey func(order)) error {
	in.part = append(in.part, b...)
	for {
		line, rest, ok := bytes.Cut(in.part, []byte{'\n'})
		if !ok {
			return nil
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			return fmt.Errorf("the coordinator said %.80q: %w", line, err)
		}
		in.part = rest
		obey(o)
	}
}
