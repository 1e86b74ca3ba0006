package main

import (
	"context"

	"goranch/protocol/shell"
)

// callName is the method that requests of lines call. It answers with the request.
const callName = "call"

func init() {
	register(engine{
		name: "goranch-shell", about: "this library's shell, with a method that echoes its argument; a goroutine for each call",
		only: "calls-1000", greets: true, start: startShell(false),
	})
	register(engine{
		name: "goranch-shell-quick", about: "goranch-shell with the method called on the connection's goroutine, which is allowed for methods that never block",
		only: "calls-1000", greets: true, start: startShell(true),
	})
}

func startShell(quick bool) func(serveConfig) (string, error) {
	return func(cfg serveConfig) (string, error) {
		call := shell.Method(callName, "Answer the request.", func(_ context.Context, value string) (string, error) {
			return callName + ":" + value, nil
		})
		call.Quick = quick
		s, err := shell.New(shell.Options{Commands: []shell.Command{call}})
		if err != nil {
			return "", err
		}
		return startGoranch(s)(cfg)
	}
}
