//go:build !unix

package console

// CheckSocket refuses nothing here: files have no owner that could be compared.
func CheckSocket(string) error { return nil }
