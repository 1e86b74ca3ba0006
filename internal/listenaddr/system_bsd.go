//go:build unix && !linux

package listenaddr

const (
	maxUnixPath = 103 // the size of sun_path without its final zero byte
	canInherit  = true
)
