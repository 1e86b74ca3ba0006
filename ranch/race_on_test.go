//go:build race

package ranch_test

const raceEnabled = true
