//go:build postgres

package fleettest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// visitor is a browser of the test's own, for steps that must come in an order.
type visitor struct {
	t      *testing.T
	url    string
	client *http.Client
	cookie string
	token  string
}

// visit makes a browser with a source address of its own.
func (f *fleet) visit(addr string) *visitor {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: netip.MustParseAddr(addr).AsSlice()}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: f.t, url: f.balancer.URL, client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// reply is an answer in short.
type reply struct {
	status int
	code   string
	body   []byte
}

func (r reply) String() string { return strings.TrimSpace(fmt.Sprintf("%d %s", r.status, r.code)) }

// do asks once. What does not answer fails the test: the servers run all of the time.
func (v *visitor) do(method, path string, body any) reply {
	v.t.Helper()
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			v.t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, bytes.NewReader(data))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("User-Agent", "visitor")
	r.Header.Set("Content-Type", "application/json")
	if v.cookie != "" {
		r.Header.Set("Cookie", "cw_session="+v.cookie)
	}
	if v.token != "" && method != http.MethodGet {
		r.Header.Set("X-CSRF-Token", v.token)
	}
	response, err := v.client.Do(r)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	out := reply{status: response.StatusCode}
	if out.body, err = io.ReadAll(response.Body); err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	for _, c := range response.Cookies() {
		if c.Name == "cw_session" && c.Value != "" {
			v.cookie = c.Value
		}
	}
	var problem struct {
		Error struct{ Code string }
	}
	if response.StatusCode >= 400 && json.Unmarshal(out.body, &problem) == nil {
		out.code = problem.Error.Code
	}
	return out
}

// login logs in; the answer's token is kept.
func (v *visitor) login(teacher int) reply { return v.loginWith(teacher, password) }

func (v *visitor) loginWith(teacher int, secret string) reply {
	v.t.Helper()
	r := v.do(http.MethodPost, "/api/v1/login", map[string]string{"email": strings.ReplaceAll(email, "%d", fmt.Sprint(teacher)), "password": secret})
	if r.status == http.StatusOK {
		v.token = r.field(v.t, "csrfToken")
	}
	return r
}

func (r reply) field(t *testing.T, name string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(r.body, &all); err != nil {
		t.Fatal(err)
	}
	text, _ := all[name].(string)
	return text
}

// list asks for the class sessions: it wants a login and no token.
func (v *visitor) list() reply { v.t.Helper(); return v.do(http.MethodGet, "/api/v1/sessions", nil) }

// create creates a class session: it wants a login and its token.
func (v *visitor) create() reply {
	v.t.Helper()
	return v.do(http.MethodPost, "/api/v1/sessions", map[string]string{"title": "Class"})
}

func (v *visitor) join(code string) reply {
	v.t.Helper()
	return v.do(http.MethodPost, "/api/v1/join", map[string]string{"code": code, "name": "A Student"})
}

// everyServer asks as often as every server gets its turn several times, and wants the same status.
func (v *visitor) everyServer(what string, want int, ask func() reply) {
	v.t.Helper()
	for range 3 * size {
		if r := ask(); r.status != want {
			v.t.Errorf("%s: got %v, want %d", what, r, want)
			return
		}
	}
}

// until asks until the status comes from every server; meanwhile nothing comes but what is allowed.
func (v *visitor) until(what string, want int, allowed []int, ask func() reply) {
	v.t.Helper()
	row := 0
	err := poll(stepWithin, what, func() (bool, error) {
		r := ask()
		if r.status == want {
			row++
			return row >= 3*size, nil
		}
		row = 0
		for _, status := range allowed {
			if r.status == status {
				return false, fmt.Errorf("last was %v", r)
			}
		}
		v.t.Errorf("%s: got %v, want %d, or before %v", what, r, want, allowed)
		return true, nil
	})
	if err != nil {
		v.t.Error(err)
	}
}
