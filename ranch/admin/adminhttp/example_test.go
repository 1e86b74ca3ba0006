package adminhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"strings"

	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

func Example() {
	server, discard := new(ranch.Server), slog.New(slog.DiscardHandler)
	h, err := adminhttp.New(adminhttp.Options{
		Server:   server,
		Commands: admin.Commands(admin.Options{Server: server, Protected: []string{"admin-http"}}),
		Audit:    admin.Audit(discard),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(context.Background())
	defer server.Drain(context.Background())
	for name, p := range map[string]interface {
		Serve(context.Context, *transport.Conn) error
	}{"echo": echo.Protocol{}, "admin-http": h} {
		opts := ranch.Options{Addr: "127.0.0.1:0", Logger: discard}
		if _, err := server.StartListener(name, transport.TCP{}, opts, p); err != nil {
			log.Fatal(err)
		}
	}
	l, err := server.Listener("admin-http")
	if err != nil {
		log.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	show := func(resp *http.Response, err error) {
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		fmt.Print(resp.StatusCode, " ", string(b))
	}
	show(client.Get(url + "/readyz?verbose"))
	show(client.Get(url + "/sources?limit=1&filter=listener%3Decho"))
	show(client.Post(url+"/commands/cap", "application/json", strings.NewReader(`{"args":["echo","500"]}`)))
	// Output:
	// 200 [+] listener admin-http: ok
	// [+] listener echo: ok
	// ready
	// 200 {"result":[],"columns":[{"key":"source","title":"SOURCE"},{"key":"connections","title":"CONNECTIONS","right":true},{"key":"read","title":"READ","kind":"bytes","right":true},{"key":"written","title":"WRITTEN","kind":"bytes","right":true}]}
	// 401 {"error":{"message":"cap requires the role operator; your role is viewer; send a token as \"Authorization: Bearer TOKEN\", or open a link with a ticket"}}
}
