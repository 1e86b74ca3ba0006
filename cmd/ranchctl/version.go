package main

import "goranch/internal/build"

func version() string { return build.Version("ranchctl") }
