package main

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed erlang/bench_ranch.erl
var ranchModule []byte

// ranchEnv names the directory of Ranch's .beam files.
const ranchEnv = "BENCH_RANCH"

// ranchInstall installs Erlang from Debian's packages. Debian has Ranch only within the package of
// RabbitMQ, whose server need not be installed.
const ranchInstall = "apt-get install -y --no-install-recommends erlang-base erlang-ssl && cd /tmp && apt-get download rabbitmq-server && " +
	"dpkg -x rabbitmq-server_*.deb /opt/bench-ranch (or set " + ranchEnv + " to the directory of Ranch's .beam files)"

// ranchPlaces are where Ranch is looked for, besides ranchEnv.
var ranchPlaces = []string{
	"/usr/lib/erlang/lib/ranch-*/ebin",
	"/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/ranch-*/ebin",
	"/opt/bench-ranch/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/ranch-*/ebin",
}

func init() {
	register(engine{
		name: "ranch", about: "Ranch on Erlang/OTP, one scheduler, {active, false} (requires Erlang and Ranch)",
		tls: true, start: startRanch, missing: ranchMissing,
	})
}

func ranchMissing() string {
	for _, program := range []string{"erl", "erlc"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed: " + ranchInstall
		}
	}
	if dir, err := findRanch(); dir == "" {
		return err.Error()
	}
	return ""
}

// findRanch returns the directory of Ranch's .beam files.
func findRanch() (string, error) {
	places := ranchPlaces
	if dir := os.Getenv(ranchEnv); dir != "" {
		places = []string{dir}
	}
	for _, place := range places {
		found, _ := filepath.Glob(filepath.Join(place, "ranch.beam"))
		if len(found) > 0 {
			return filepath.Dir(found[len(found)-1]), nil
		}
	}
	return "", fmt.Errorf("ranch.beam is in none of %q: %s", places, ranchInstall)
}

// startRanch compiles the module and runs it. The options of erl: one scheduler for each kind of
// work, as the server has one processor, and no busy waiting, which would count as CPU time.
func startRanch(cfg serveConfig) (string, error) {
	ranch, err := findRanch()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "bench-ranch-*")
	if err != nil {
		return "", err
	}
	time.AfterFunc(maxLife, func() { os.RemoveAll(dir) })
	source := filepath.Join(dir, "bench_ranch.erl")
	if err := os.WriteFile(source, ranchModule, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.Command("erlc", "-pa", ranch, "-o", dir, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("erlc: %w: %s", err, out)
	}
	var files []string
	if cfg.tls != nil {
		if files, err = writeCertificate(dir, cfg.tls.Certificates[0]); err != nil {
			return "", err
		}
	}
	return startExternal("erl", func(port string) ([]string, error) {
		args := []string{"-noinput", "-boot", "start_clean", "+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
			"-pa", dir, "-pa", ranch, "-s", "bench_ranch", "main", port}
		return append(args, files...), nil
	})
}

// writeCertificate writes certificate and key as PEM files.
func writeCertificate(dir string, c tls.Certificate) (files []string, err error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, err
	}
	files = []string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	write := func(file, kind string, der []byte) error {
		return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return files, errors.Join(write(files[0], "CERTIFICATE", c.Certificate[0]), write(files[1], "PRIVATE KEY", key))
}
