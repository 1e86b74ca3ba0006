package build

import (
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{GoVersion: "go1.26.8"}, "ranchd (devel) go1.26.8"},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-01T00:00:00Z"}, {Key: "vcs.modified", Value: "true"},
		}}, "ranchd v1.2.3 (revision abc of 2026-01-01T00:00:00Z with local changes) go1.26.8"},
	} {
		if got := describe("ranchd", &c.info); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
