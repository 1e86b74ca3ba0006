// Command modulepath changes the path of this module: in the go.mod files, also of the modules in
// subdirectories, in imports, and in documents. "make module-path MODULE=example.org/you/goranch"
// runs it.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: make module-path MODULE=example.org/you/goranch")
		os.Exit(2)
	}
	old, n, err := setPath(".", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "module path:", err)
		os.Exit(1)
	}
	fmt.Printf("module path: was %s, is %s; %d files changed\n", old, os.Args[1], n)
}
