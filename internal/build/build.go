// Package build provides the version text of the commands of this module.
package build

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Version returns the version text of the command name: its module version, the revision that it
// was built from, the Go release and the platform.
func Version(name string) string {
	return describe(name, info()) + " " + runtime.GOOS + "/" + runtime.GOARCH
}

// Module returns the module version only.
func Module() string { return module(info()) }

func info() *debug.BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok { // built without modules
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return info
}

func module(info *debug.BuildInfo) string { return cmp.Or(info.Main.Version, "(devel)") }

func describe(name string, info *debug.BuildInfo) string {
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	v := module(info)
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
	return fmt.Sprintf("%s %s %s", name, v, info.GoVersion)
}
