package main

import (
	"embed"
	"fmt"
)

//go:embed completion
var completions embed.FS

// completionScript returns the script with which a shell of the system completes ranchctl's flags.
func completionScript(shell string) (string, error) {
	b, err := completions.ReadFile("completion/ranchctl." + shell)
	if err != nil {
		return "", fmt.Errorf("completion %q: allowed are bash, zsh and fish", shell)
	}
	return string(b), nil
}
