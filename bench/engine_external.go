package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// external is the process of a server that is not written in Go. It runs on the processor of the
// process that starts it and is killed when that exits.
var external *os.Process

// servingPID returns the process whose CPU time and memory are measured.
func servingPID() int {
	if external != nil {
		return external.Pid
	}
	return os.Getpid()
}

func init() {
	register(engine{
		name: "redis", about: "redis-server, one channel (requires Debian's package redis-server)",
		fanout: &redisProtocol, start: startRedis, missing: notInstalled("redis-server"),
	})
	register(engine{
		name: "mosquitto", about: "mosquitto, one topic, quality of service 0 (requires Debian's package mosquitto)",
		fanout: &mqttProtocol, start: startMosquitto, missing: notInstalled("mosquitto"),
	})
}

// notInstalled returns a function that says how to install a missing program, or "".
func notInstalled(program string) func() string {
	return func() string {
		if _, err := lookPath(program); err != nil {
			return fmt.Sprintf("%s is not installed: apt-get install %s", program, program)
		}
		return ""
	}
}

// lookPath also searches /usr/sbin, where Debian installs servers.
func lookPath(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

func startRedis(serveConfig) (string, error) {
	return startExternal("redis-server", func(port string) ([]string, error) {
		return []string{
			"--bind", "127.0.0.1", "--protected-mode", "no", "--port", port, "--save", "", "--appendonly", "no", "--maxclients", "19500", "--tcp-backlog", "4096",
			"--client-output-buffer-limit", "pubsub", "0", "0", "0", "--loglevel", "warning", "--timeout", "0", "--tcp-keepalive", "0",
		}, nil
	})
}

func startMosquitto(serveConfig) (string, error) {
	return startExternal("mosquitto", func(port string) ([]string, error) {
		f, err := os.CreateTemp("", "mosquitto-*.conf")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		time.AfterFunc(maxLife, func() { os.Remove(f.Name()) })
		_, err = fmt.Fprintf(f, "listener %s 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type none\nuser root\n", port)
		return []string{"-c", f.Name()}, err
	})
}

// startExternal starts a program on a free port and waits until it accepts connections.
func startExternal(program string, args func(port string) ([]string, error)) (addr string, err error) {
	path, err := lookPath(program)
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr = ln.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	ln.Close()
	list, err := args(port)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path, list...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	external = cmd.Process
	for range 100 {
		if nc, err := net.Dial("tcp", addr); err == nil {
			nc.Close()
			return addr, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	cmd.Process.Kill()
	return "", fmt.Errorf("%s does not accept connections on %s", program, addr)
}
