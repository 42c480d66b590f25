package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// browser is one client: a source address, a user agent, and cookies.
type browser struct {
	g       *Generator
	network network
	host    int
	used    int  // requests from this address
	stays   bool // at one address, whatever that has used
	http    *http.Client

	login string // the cookie of a login
	seat  string // the cookie of having joined
}

const (
	loginCookie = "cw_session"
	seatCookie  = "cw_participant"
	agent       = "classwaves-load"

	// addressBudget is how many requests come from one address. Production allows 100 in 15 minutes.
	addressBudget = 80

	requestTimeout = 20 * time.Second // longer than the server's own
	bodyLimit      = 4 << 20
)

// newBrowser is a client that nobody has seen.
func (g *Generator) newBrowser() *browser {
	b := &browser{g: g, network: g.addresses.next()}
	b.connect()
	return b
}

// connect takes the next address of the network: logins are bound to it, limits to the address.
func (b *browser) connect() {
	b.close()
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if addr := b.network.host(b.host); addr.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: addr.AsSlice()}
	}
	b.host++
	b.used = 0
	b.http = &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2, DisableCompression: true,
			IdleConnTimeout: 20 * time.Second, // less than servers have, or a request might meet its end
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// close ends the browser's idle connections.
func (b *browser) close() {
	if b.http != nil {
		b.http.CloseIdleConnections()
	}
}

// spend takes one request from the address's budget.
func (b *browser) spend() {
	if b.used++; b.used > addressBudget && !b.stays {
		b.connect()
		b.used = 1
	}
}

// request is what is asked.
type request struct {
	op           string // by which it is counted
	method, path string
	body         any // as JSON
	token        string
}

// answer is what came.
type answer struct {
	status int
	code   string // of an error
	body   []byte
	header http.Header
	err    error // no answer came
}

// do asks once and counts the operation.
func (b *browser) do(ctx context.Context, q request) answer {
	b.spend()
	begin := time.Now()
	a := b.send(ctx, q)
	if a.err == nil {
		b.g.record.done(q.op, time.Since(begin))
	}
	return a
}

func (b *browser) send(ctx context.Context, q request) answer {
	var body io.Reader
	if q.body != nil {
		data, err := json.Marshal(q.body)
		if err != nil {
			return answer{err: err}
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, b.g.c.URL+q.path, body)
	if err != nil {
		return answer{err: err}
	}
	r.Header = b.header()
	if q.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.token != "" {
		r.Header.Set("X-CSRF-Token", q.token)
	}
	response, err := b.http.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	return b.read(response)
}

// header is what every request of the browser carries.
func (b *browser) header() http.Header {
	h := make(http.Header)
	h.Set("User-Agent", agent)
	for name, value := range map[string]string{loginCookie: b.login, seatCookie: b.seat} {
		if value != "" {
			h.Add("Cookie", name+"="+value)
		}
	}
	return h
}

func (b *browser) read(response *http.Response) answer {
	a := answer{status: response.StatusCode, header: response.Header}
	if a.body, a.err = io.ReadAll(io.LimitReader(response.Body, bodyLimit)); a.err != nil {
		return a
	}
	for _, c := range response.Cookies() {
		switch {
		case c.Value == "": // taken back; whether it is good for nothing now is what is to be seen
		case c.Name == loginCookie:
			b.login = c.Value
		case c.Name == seatCookie:
			b.seat = c.Value
		}
	}
	if a.status >= 400 {
		var problem struct {
			Error struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		_ = json.Unmarshal(a.body, &problem) // without a code it is no error of the API
		a.code = problem.Error.Code
	}
	return a
}

// decode reads the answer's body.
func (a answer) decode(into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("answer of status %d: %w", a.status, err)
	}
	return nil
}

// decided says whether an answer says something. One that does not is counted.
func (g *Generator) decided(ctx context.Context, op string, a answer) bool {
	balancer := a.code == "" && (a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout)
	switch {
	case ctx.Err() != nil:
		return false // the play is over
	case (a.err != nil || balancer) && g.c.Faults:
		g.record.count(func(r *Report) { r.Broken++ })
	case a.err != nil:
		g.record.violate(Broken, "%s: no answer: %s", op, reason(a.err))
	case balancer:
		g.record.violate(Broken, "%s: %d from a balancer", op, a.status)
	case a.status == http.StatusServiceUnavailable && g.c.Faults:
		g.record.count(func(r *Report) { r.Unavailable++ })
	case a.status == http.StatusServiceUnavailable:
		g.record.violate(Unavailable, "%s: 503 %s", op, a.code)
	case a.status == http.StatusTooManyRequests:
		g.record.violate(Limited, "%s: 429 within the limits", op)
	case a.status >= 400 && a.code == "", a.status >= 500:
		g.record.violate(Unexpected, "%s: %d %s", op, a.status, a.code)
	default:
		return true
	}
	return false
}

// unexpected counts an answer that the API does not have there.
func (g *Generator) unexpected(op string, a answer) {
	g.record.violate(Unexpected, "%s: %d %s", op, a.status, a.code)
}

// reason is an error of the network without the addresses and paths in it.
func reason(err error) string {
	var last error
	for e := err; e != nil; {
		last = e
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	return last.Error()
}
