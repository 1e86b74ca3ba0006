package option_test

import (
	"fmt"

	"goranch/internal/option"
)

func Example() {
	size := 0
	option.Default(&size, 64)
	var f option.Faults
	f.NotNegative("MaxItems", -3, "0 for 64")
	fmt.Println(size, f.Err())
	// Output: 64 option MaxItems -3: allowed are positive numbers, and 0 for 64
}
