package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version says which build this is: the module's version, the revision it was built
// from, the Go release and the platform.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok { // built without modules
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return describe(info) + " " + runtime.GOOS + "/" + runtime.GOARCH
}

func describe(info *debug.BuildInfo) string {
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	var from []string
	if r := settings["vcs.revision"]; r != "" {
		from = append(from, "revision "+r)
	}
	if t := settings["vcs.time"]; t != "" {
		from = append(from, "of "+t)
	}
	if settings["vcs.modified"] == "true" {
		from = append(from, "with local changes")
	}
	if len(from) > 0 {
		v += " (" + strings.Join(from, " ") + ")"
	}
	return fmt.Sprintf("ranchd %s %s", v, info.GoVersion)
}
