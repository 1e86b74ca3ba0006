//go:build !race

package certs_test

const raceEnabled = false
