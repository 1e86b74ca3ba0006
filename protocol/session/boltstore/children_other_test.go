//go:build !linux

package boltstore_test

var children map[string]func(path string)
