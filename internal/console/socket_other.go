//go:build !unix

package console

// CheckSocket returns nil: files have no owner that could be compared.
func CheckSocket(string) error { return nil }
