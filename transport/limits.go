package transport

import "time"

// Values of limits in the options of every package of this module. The zero value of a limit
// stands for its default, which each field states; these stand for no limit at all.
const (
	NoLimit                 = -1 // of a number or a size
	NoTimeout time.Duration = -1
)
