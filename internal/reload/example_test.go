package reload_test

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"goranch/internal/reload"
)

func Example() {
	text := "hello"
	files := reload.Files{Read: func() ([32]byte, func() error) {
		return sha256.Sum256([]byte(text)), func() error {
			if text == "" {
				return errors.New("the file is empty")
			}
			return nil
		}
	}}
	fmt.Println(files.Reload())
	fmt.Println(files.Reload())
	text = ""
	fmt.Println(files.Reload())
	// Output:
	// true <nil>
	// false <nil>
	// false the file is empty
}
