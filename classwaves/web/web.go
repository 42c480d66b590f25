// Package web is the pages of ClassWaves: a login, a teacher's live dashboard and the page on which
// students join. Plain HTML and a little script, embedded, without a build step; everything that they
// show comes from the API.
package web

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed static
var static embed.FS

// Paths are the patterns under which [Handler] is to be mounted.
var Paths = []string{"/{$}", "/login", "/join", "/dashboard", "/static/"}

// pages is the file of each path.
var pages = map[string]string{
	"/login":     "static/login.html",
	"/join":      "static/join.html",
	"/dashboard": "static/dashboard.html",
}

// Handler serves the pages. The root leads to the dashboard, which leads to the login where that is
// missing.
func Handler() http.Handler {
	files := http.FileServerFS(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/dashboard", http.StatusSeeOther)
			return
		}
		name, ok := pages[r.URL.Path]
		if !ok {
			files.ServeHTTP(w, r)
			return
		}
		page, err := fs.ReadFile(static, name)
		if err != nil {
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // fails when the client is gone
	})
}
