package web

import (
	"embed"
	"net/http"

	"goranch/internal/weborigin"
)

//go:embed page
var pageFiles embed.FS

// contentPolicy lets the page load its own files only.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

func (g *Gateway) servePage() {
	for path, f := range map[string]struct{ name, kind string }{
		"GET /{$}":      {"page/page.html", "text/html; charset=utf-8"},
		"GET /page.js":  {"page/page.js", "text/javascript; charset=utf-8"},
		"GET /page.css": {"page/page.css", "text/css; charset=utf-8"},
	} {
		body, err := pageFiles.ReadFile(f.name)
		if err != nil {
			panic(err) // the file is embedded
		}
		g.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", f.kind)
			weborigin.Isolate(h, contentPolicy)
			h.Set("Cache-Control", "no-cache")
			w.Write(body)
		})
	}
}
