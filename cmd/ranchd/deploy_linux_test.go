package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func readDeployFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The command lines of the unit are valid, and systemd accepts the units and finds little exposure.
func TestUnits(t *testing.T) {
	unit := readDeployFile(t, "systemd/ranchd.service")
	m := regexp.MustCompile(`(?m)^ExecStart=\S+ (.*)$`).FindStringSubmatch(unit)
	if m == nil {
		t.Fatal("got no ExecStart with arguments, want one")
	}
	file := filepath.Join(t.TempDir(), "ranchd.toml")
	if err := os.WriteFile(file, []byte("[[listener]]\naddress = \"systemd:echo\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := strings.Fields(strings.Replace(m[1], "/etc/ranchd/ranchd.toml", file, 1))
	var stdout, stderr strings.Builder
	c, code, done := parse(args, &stdout, &stderr)
	if done {
		t.Fatalf("%q: got code %d, want valid arguments\n%s", args, code, &stderr)
	}
	reload := regexp.MustCompile(`(?m)^ExecReload=\S+/ranchctl --connect (\S+) reload$`).FindStringSubmatch(unit)
	if reload == nil || !slices.ContainsFunc(c.Listeners, func(l *listenerConfig) bool { return l.Addr.String() == reload[1] }) {
		t.Errorf("ExecReload: got %q, want ranchctl with the address of the operators' shell", reload)
	}
	if !strings.Contains(readDeployFile(t, "systemd/ranchd.socket"), "\nFileDescriptorName=echo\n") {
		t.Error("socket unit: got no FileDescriptorName=echo, want one")
	}
	analyze := requireProgram(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	unit = regexp.MustCompile(`=/usr/local/bin/\S+`).ReplaceAllString(unit, "=/bin/sh") // a program that exists
	if systemdVersion(t, analyze) < 253 {
		unit = strings.Replace(unit, "\nType=notify-reload", "\nType=notify", 1)
	}
	for name, text := range map[string]string{"ranchd.service": unit, "ranchd.socket": readDeployFile(t, "systemd/ranchd.socket")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(analyze, "verify", filepath.Join(dir, "ranchd.service"), filepath.Join(dir, "ranchd.socket")).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: got error %v and\n%s\nwant neither", err, out)
	}
	out, err = exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", filepath.Join(dir, "ranchd.service")).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: got %v, want an exposure of at most 2.0\n%s", err, out)
	}
}

func systemdVersion(t *testing.T, analyze string) int {
	t.Helper()
	out, err := exec.Command(analyze, "--version").Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) < 2 {
		t.Fatalf("version of systemd: got %q and error %v, want a number", out, err)
	}
	n, err := strconv.Atoi(words[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The configuration of the container is valid, and its ports are those that the container exposes
// and the compose file publishes, on loopback only.
func TestContainerFiles(t *testing.T) {
	text := strings.Replace(readDeployFile(t, "container/ranchd.toml"), "/var/lib/ranchd", t.TempDir(), 1)
	file := filepath.Join(t.TempDir(), "ranchd.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, "--config", file)
	container, compose := readDeployFile(t, "container/Containerfile"), readDeployFile(t, "container/compose.yaml")
	m := regexp.MustCompile(`(?m)^EXPOSE (.*)$`).FindStringSubmatch(container)
	if m == nil {
		t.Fatal("Containerfile: got no EXPOSE, want one")
	}
	exposed := " " + m[1] + " "
	for _, l := range c.Listeners {
		_, port, ok := strings.Cut(l.Addr.Address, "0.0.0.0:")
		if !ok {
			continue
		}
		if !strings.Contains(exposed, " "+port+" ") {
			t.Errorf("EXPOSE: got %q, want port %s of %s", exposed, port, l.Name)
		}
		if want := "127.0.0.1:" + port + ":" + port; !strings.Contains(compose, want) {
			t.Errorf("compose.yaml: got no %s, want it for %s", want, l.Name)
		}
	}
	for _, p := range regexp.MustCompile(`"([0-9.]*:?[0-9]+:[0-9]+)"`).FindAllStringSubmatch(compose, -1) {
		if !strings.HasPrefix(p[1], "127.0.0.1:") {
			t.Errorf("compose.yaml: got the port %s, want 127.0.0.1 only", p[1])
		}
	}
	for _, path := range regexp.MustCompile(`- (\.\.?/[^:\s]+):`).FindAllStringSubmatch(compose, -1) {
		if _, err := os.Stat(filepath.Join(deployDir, "container", path[1])); err != nil {
			t.Errorf("compose.yaml: %v", err)
		}
	}
	if !strings.Contains(container, "CGO_ENABLED=0 go build ") {
		t.Error("Containerfile: got no CGO_ENABLED=0, want it: the base has no libraries")
	}
	if !strings.Contains(container, "\nFROM scratch\n") || !strings.Contains(container, "\nUSER 65532:65532\n") {
		t.Error("Containerfile: got another base or user, want scratch and 65532:65532")
	}
}

// Under a real systemd, the service is ready when it serves, an upgrade changes its main process,
// which is started again after a crash, and a stop ends it.
func TestSystemd(t *testing.T) {
	run := requireProgram(t, "systemd-run", "systemd")
	manager := []string{}
	state := func() string {
		out, _ := exec.Command("systemctl", append(manager, "is-system-running")...).Output()
		return strings.TrimSpace(string(out))
	}
	if s := state(); s != "running" && s != "degraded" || os.Getuid() != 0 {
		manager = []string{"--user"}
		if s := state(); s != "running" && s != "degraded" {
			t.Skipf("SKIPPED: no systemd is running (%q); to run this test: go test ./cmd/ranchd -run TestSystemd where one is", s)
		}
	}
	bin := buildProgram(t)
	unit := "ranchd-test-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	log := filepath.Join(t.TempDir(), "log")
	args := append(append([]string{}, manager...), "--unit="+unit, "--collect", "-p", "Type=notify", "-p", "NotifyAccess=main", "-p", "WatchdogSec=60",
		"-p", "Restart=on-failure", "-p", "RestartSec=100ms", "-p", "StandardError=append:"+log, bin, "--listen", "a=127.0.0.1:0", "--admin", "none", "--quiet", "--log-format", "json", "--upgrade-drain", "0s")
	if out, err := exec.Command(run, args...).CombinedOutput(); err != nil { // returns after READY=1
		t.Fatalf("systemd-run: %v\n%s", err, out)
	}
	control := func(args ...string) string {
		out, err := exec.Command("systemctl", append(append([]string{}, manager...), args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("systemctl %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	property := func(name string) string { return control("show", "--value", "-p", name, unit) }
	// waitServing waits until the unit is active with a main process that is none of these.
	waitServing := func(pids ...string) string {
		for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
			pid, state := property("MainPID"), property("ActiveState")
			if state == "active" && !slices.Contains(pids, pid) {
				return pid
			}
			if time.Now().After(end) {
				b, _ := os.ReadFile(log)
				t.Fatalf("got state %s and main process %s, want active and none of %q; log:\n%s", state, pid, pids, b)
			}
		}
	}
	first := waitServing()
	control("kill", "--kill-who=main", "--signal=USR2", unit)
	second := waitServing(first)
	control("kill", "--kill-who=main", "--signal=KILL", unit) // the first process has not ended
	waitServing(first, second)
	control("stop", unit)
	if b, err := os.ReadFile(log); err != nil || strings.Count(string(b), `"msg":"stopped"`) != 2 {
		t.Errorf("log: got error %v and\n%s\nwant the end of the first and of the third process", err, b)
	}
}
