package descriptors_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"goranch/internal/descriptors"
)

func Example() {
	open, limit, err := descriptors.Count()
	if errors.Is(err, errors.ErrUnsupported) {
		open, limit = 3, 3
	}
	fmt.Println(open >= 3 && open <= limit)
	// Output: true
}

// Count follows files that are opened and closed.
func TestCount(t *testing.T) {
	before := count(t)
	const files = 10
	for range files {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after := count(t); after < before+files {
		t.Errorf("got %d descriptors, want %d more than %d", after, files, before)
	}
}

func count(t *testing.T) int {
	t.Helper()
	open, limit, err := descriptors.Count()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil || limit < open {
		t.Fatalf("got %d of %d descriptors, %v, want no error", open, limit, err)
	}
	return open
}
