//go:build !unix || aix || solaris

package transport

import "context"

func lockDir(context.Context, string) (unlock func()) { return func() {} }
