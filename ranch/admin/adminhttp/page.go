package adminhttp

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// addPage registers the files of the dashboard. They contain no data, so they need no credentials.
func (h *Handler) addPage() {
	fs.WalkDir(pageFiles, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := pageFiles.ReadFile(name)
		if err != nil {
			return err
		}
		url := "GET " + strings.TrimPrefix(name, "page")
		if url == "GET /dashboard.html" {
			url = "GET /{$}"
		}
		h.mux.HandleFunc(url, pageFile(name, body))
		return nil
	})
}

func pageFile(name string, body []byte) http.HandlerFunc {
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // the tables of systems differ
	case ".html":
		kind = "text/html; charset=utf-8"
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".css":
		kind = "text/css; charset=utf-8"
	case ".txt":
		kind = "text/plain; charset=utf-8"
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(body)
	}
}
