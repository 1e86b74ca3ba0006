package transport_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"goranch/transport"
)

// Each benchmark also runs over a bare net.Conn: the difference is the cost of a Conn.

// bareOrConn runs f over both ends of a connection, with a bare server's end and with a Conn.
func bareOrConn(b *testing.B, name string, f func(b *testing.B, srv, cli net.Conn)) {
	b.Run("bare", func(b *testing.B) {
		srv, cli := kindNamed(name).pair(b, transport.TCP{})
		f(b, srv.NetConn(), cli)
	})
	b.Run("Conn", func(b *testing.B) {
		srv, cli := kindNamed(name).pair(b, transport.TCP{})
		f(b, srv, cli)
	})
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{64, 16 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			bareOrConn(b, "tcp", func(b *testing.B, srv, cli net.Conn) {
				go io.Copy(io.Discard, cli)
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := srv.Write(p); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{64, 16 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			bareOrConn(b, "tcp", func(b *testing.B, srv, cli net.Conn) {
				go func() {
					for {
						if _, err := cli.Write(bulk[:1<<20]); err != nil {
							return
						}
					}
				}()
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := io.ReadFull(srv, p); err != nil {
						b.Fatal(err)
					}
				}
				cli.Close()
			})
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, name := range []string{"tcp", "unix", "tls1.3"} {
		for _, size := range []int{64, 16 << 10} {
			for _, way := range []struct {
				name string
				echo func(*transport.Conn)
			}{
				{"bare", func(c *transport.Conn) {
					nc := c.NetConn()
					if _, secure := c.TLS(); secure {
						nc = c
					}
					for p := make([]byte, 4<<10); ; {
						n, err := nc.Read(p)
						if err != nil {
							return
						}
						nc.Write(p[:n])
					}
				}},
				{"WriteTo", func(c *transport.Conn) { c.WriteTo(c) }},
			} {
				b.Run(name+"/"+sizeName(size)+"/"+way.name, func(b *testing.B) {
					srv, cli := kindNamed(name).pair(b, transport.TCP{})
					go way.echo(srv)
					once := echoes(b, cli, size)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						once()
					}
				})
			}
		}
	}
}

func BenchmarkStats(b *testing.B) {
	srv, _ := kindNamed("tcp").pair(b, transport.TCP{})
	b.ReportAllocs()
	for b.Loop() {
		srv.Stats()
	}
}

func BenchmarkRelay(b *testing.B) {
	for _, way := range []string{"by hand", "WriteTo"} {
		b.Run(way, func(b *testing.B) {
			src, in := kindNamed("tcp").pair(b, transport.TCP{})
			dst, out := kindNamed("tcp").pair(b, transport.TCP{})
			go func() {
				if way == "WriteTo" {
					src.WriteTo(dst)
				} else {
					io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 64<<10))
				}
			}()
			go func() {
				for {
					if _, err := in.Write(bulk[:1<<20]); err != nil {
						return
					}
				}
			}()
			p := make([]byte, 1<<20)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, err := io.ReadFull(out, p); err != nil {
					b.Fatal(err)
				}
			}
			in.Close()
		})
	}
}

func sizeName(n int) string {
	if n < 1<<10 {
		return fmt.Sprint(n, "B")
	}
	return fmt.Sprint(n>>10, "KiB")
}

// echoes returns a function that sends size bytes and waits until they are returned.
func echoes(tb testing.TB, cli net.Conn, size int) func() {
	p := make([]byte, size)
	return func() {
		if _, err := cli.Write(p); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(cli, p); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkTLSHandshake compares handshakes with and without a time limit.
func BenchmarkTLSHandshake(b *testing.B) {
	for _, limited := range []bool{false, true} {
		b.Run(fmt.Sprintf("limited=%v", limited), func(b *testing.B) {
			tr := transport.TLS{Config: testTLS()}
			client := testTLS()
			b.ReportAllocs()
			for b.Loop() {
				a, c := memConns(b)
				conn := transport.NewConn(tr, c)
				cli := tls.Client(a, client)
				done := async(func() (int64, error) { return 0, cli.Handshake() })
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if limited {
					ctx, cancel = context.WithTimeout(ctx, time.Minute)
				}
				if err := conn.Handshake(ctx); err != nil {
					b.Fatal(err)
				}
				cancel()
				<-done
				conn.Abort()
				a.Close()
			}
		})
	}
}
