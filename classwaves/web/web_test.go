package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves/web"
)

// TestPages: each page is there, is HTML, and needs nothing that the content security policy refuses.
func TestPages(t *testing.T) {
	h := web.Handler()
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	for _, path := range []string{"/login", "/join", "/dashboard"} {
		w := get(path)
		body := w.Body.String()
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		for _, inline := range []string{"<style", " style=", "onclick=", "javascript:", "http://", "https://"} {
			if strings.Contains(body, inline) {
				t.Errorf("%s holds %s", path, inline)
			}
		}
		for _, asset := range strings.Split(body, `"/static/`)[1:] {
			name, _, _ := strings.Cut(asset, `"`)
			if w := get("/static/" + name); w.Code != http.StatusOK {
				t.Errorf("%s needs %s: %d", path, name, w.Code)
			}
		}
	}
	if w := get("/"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/dashboard" {
		t.Errorf("/: %d to %q", w.Code, w.Header().Get("Location"))
	}
	for _, path := range []string{"/nothing", "/static/none.js", "/static/../web.go"} {
		if w := get(path); w.Code == http.StatusOK {
			t.Errorf("%s is there", path)
		}
	}
}
