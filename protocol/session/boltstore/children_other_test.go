//go:build !linux

package boltstore_test

// childModes is empty: the tests with child processes run on Linux only.
var childModes map[string]func(path string)
