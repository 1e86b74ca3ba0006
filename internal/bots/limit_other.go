//go:build !unix

package bots

func perProcess() int { return mostPerProcess }
