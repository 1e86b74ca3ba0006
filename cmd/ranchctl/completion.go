package main

import (
	"embed"
	"fmt"
)

//go:embed completion
var completions embed.FS

// completionScript returns what a shell reads to complete ranchctl's flags.
func completionScript(shell string) (string, error) {
	b, err := completions.ReadFile("completion/ranchctl." + shell)
	if err != nil {
		return "", fmt.Errorf("completion for %q: there is one for bash, zsh and fish", shell)
	}
	return string(b), nil
}
