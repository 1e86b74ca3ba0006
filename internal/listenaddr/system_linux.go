package listenaddr

const (
	maxUnixPath = 107 // the size of sun_path without its final zero byte
	canInherit  = true
)
