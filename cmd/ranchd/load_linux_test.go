package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// loadEnv is the load of TestUpgradeUnderLoad: connections, new ones per second, time, upgrades and
// client processes. UPGRADE_LOAD="10000 2000 30s 3 4" is the full one.
const loadEnv = "UPGRADE_LOAD"

// loadClientEnv makes the test a client process.
const loadClientEnv = "UPGRADE_LOAD_CLIENT"

func TestUpgradeLoadClient(t *testing.T) {
	if os.Getenv(loadClientEnv) == "" {
		t.Skip("a process of TestUpgradeUnderLoad")
	}
	if err := runLoadClient(os.Stdin, os.NewFile(3, "result")); err != nil {
		t.Fatal(err)
	}
}

// Under load, upgrades refuse no connection, leave no request without an answer, and lose nothing
// that was answered.
func TestUpgradeUnderLoad(t *testing.T) {
	load := upgradeLoad{Connections: 500, Sessions: 20, NewPerSecond: 200, Interval: 200 * time.Millisecond, Time: 4 * time.Second}
	upgrades, clients := 2, 1
	if s := os.Getenv(loadEnv); s != "" {
		var d string
		if n, err := fmt.Sscan(s, &load.Connections, &load.NewPerSecond, &d, &upgrades, &clients); n != 5 {
			t.Fatalf("%s=%q: got %v, want connections, new ones per second, time, upgrades, client processes", loadEnv, s, err)
		}
		var err error
		if load.Time, err = time.ParseDuration(d); err != nil {
			t.Fatal(err)
		}
		load.Interval, load.Sessions = 2*time.Second, load.Connections/50
	}
	bin := buildProgram(t)
	p := startUpgradable(t, bin, nil, "--listen", "e=127.0.0.1:0", "--listen", "s=shell+tcp://127.0.0.1:0", "--admin", "none", "--quiet",
		"--state", t.TempDir(), "--shell-root", "none", "--max-connections", "unlimited", "--max-sessions-per-address", "unlimited")
	pid := p.serving(t, 0)
	load.Echo, load.Shell = p.log.addr(t, "e"), p.log.addr(t, "s")
	results := make(chan upgradeCount, clients)
	var wg sync.WaitGroup
	for i := range clients {
		l := load
		l.Net, l.Connections, l.Sessions, l.NewPerSecond = i, load.Connections/clients, load.Sessions/clients, load.NewPerSecond/clients
		wg.Go(func() { results <- startLoadClient(t, l) })
	}
	for range upgrades {
		time.Sleep(load.Time / time.Duration(upgrades+1))
		pid = p.upgrade(t, pid)
	}
	wg.Wait()
	close(results)
	var sum upgradeCount
	for r := range results {
		sum.add(r)
	}
	b, _ := json.Marshal(sum)
	t.Logf("%d upgrades: %s", upgrades, b)
	if n := sum.failures(); n > 0 {
		t.Errorf("got %d failures, want 0: %s", n, strings.Join(sum.Errors, "\n"))
	}
	if sum.Short == 0 || sum.Requests == 0 || sum.SessionSteps == 0 || sum.Reconnects == 0 {
		t.Error("got no load of one kind, want all")
	}
	p.stopSuccessor(t, pid)
}

// startLoadClient runs a client process.
func startLoadClient(t *testing.T, l upgradeLoad) (count upgradeCount) {
	exe, err := os.Executable()
	if err != nil {
		t.Error(err)
		return
	}
	b, err := json.Marshal(l)
	if err != nil {
		t.Error(err)
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	cmd := exec.Command(exe, "-test.run=^TestUpgradeLoadClient$", "-test.timeout="+strconv.Itoa(int((l.Time+3*timeout)/time.Second))+"s")
	cmd.Env, cmd.Stdin, cmd.ExtraFiles = append(os.Environ(), loadClientEnv+"=1"), strings.NewReader(string(b)), []*os.File{w}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Error(err)
		return
	}
	derr := json.NewDecoder(r).Decode(&count)
	if err := cmd.Wait(); err != nil || derr != nil {
		t.Errorf("client process: %v, %v\n%s", err, derr, &out)
	}
	return count
}
