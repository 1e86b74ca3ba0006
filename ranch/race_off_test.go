//go:build !race

package ranch_test

const raceEnabled = false
