package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"goranch/internal/loadgen"
	"goranch/protocol/relay"
)

func init() {
	register(engine{
		name: "goranch-relay", about: "protocol/relay of this library",
		relay: true, start: startRelay,
	})
	register(engine{
		name: "bare-relay", about: "net.Listen, net.Dial, and io.Copy in each direction, which splices",
		relay: true, start: startBareRelay,
	})
	register(engine{
		name: "haproxy", about: "haproxy in TCP mode, one thread (requires Debian's package haproxy)",
		relay: true, start: startHAProxy(""), missing: notInstalled("haproxy"),
	})
	register(engine{
		name: "haproxy-splice", about: "haproxy with splice-auto",
		relay: true, start: startHAProxy("option splice-auto"), missing: notInstalled("haproxy"),
	})
	register(engine{
		name: "nginx", about: "nginx stream, one process (requires Debian's packages nginx and libnginx-mod-stream)",
		relay: true, start: startNginx, missing: nginxMissing,
	})
}

func startRelay(cfg serveConfig) (string, error) {
	r, err := relay.New(relay.Options{Upstreams: []relay.Upstream{{Addr: cfg.upstream}}})
	if err != nil {
		return "", err
	}
	return startGoranch(r)(cfg)
}

func startBareRelay(cfg serveConfig) (string, error) {
	return serveEach(func(client *net.TCPConn) {
		nc, err := net.Dial("tcp", cfg.upstream)
		if err != nil {
			return
		}
		defer nc.Close()
		go func() {
			io.Copy(client, nc)
			client.CloseWrite()
		}()
		io.Copy(nc, client)
	})
}

func startHAProxy(option string) func(serveConfig) (string, error) {
	return func(cfg serveConfig) (string, error) {
		return startConfigured("haproxy", []string{"-db", "-q", "-f"}, func(port string) string {
			return fmt.Sprintf("global\n nbthread 1\n maxconn %d\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5m\n timeout server 5m\n %s\n"+
				"listen relay\n bind 127.0.0.1:%s backlog 4096\n server s %s\n", relayConns(), option, port, cfg.upstream)
		})
	}
}

// relayConns is the number of connections that a relay can forward, with two descriptors for each,
// and pipes for some.
func relayConns() int { return (loadgen.MaxOpenFiles() - 200) / 3 }

// nginxStream is the module of Debian's package libnginx-mod-stream.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

func nginxMissing() string {
	if _, err := os.Stat(nginxStream); err != nil {
		return "the stream module of nginx is not installed: apt-get install nginx libnginx-mod-stream"
	}
	return notInstalled("nginx")()
}

func startNginx(cfg serveConfig) (string, error) {
	return startConfigured("nginx", []string{"-e", "stderr", "-c"}, func(port string) string {
		return fmt.Sprintf("load_module %s;\ndaemon off;\nmaster_process off;\npid /dev/null;\nevents { worker_connections %d; }\n"+
			"stream {\n server {\n  listen 127.0.0.1:%s backlog=4096;\n  proxy_pass %s;\n  tcp_nodelay on;\n }\n}\n", nginxStream, 2*relayConns(), port, cfg.upstream)
	})
}

// startConfigured starts a program with a configuration file, whose name follows args.
func startConfigured(program string, args []string, text func(port string) string) (string, error) {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return "", err
	}
	time.AfterFunc(maxLife, func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, program+".conf")
	return startExternal(program, func(port string) ([]string, error) {
		return append(args, file), os.WriteFile(file, []byte(text(port)), 0o600)
	})
}
