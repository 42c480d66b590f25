package fleettest

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer gives each request to the next server, and to another one where that does not take the
// connection: nothing was sent then. What it had given to a server that the test killed, and that was
// not answered to the end, it counts: so many may be broken off, and no more.
type balancer struct {
	*httptest.Server
	transport *http.Transport
	next      atomic.Uint64
	cut       atomic.Uint64

	mu      sync.Mutex
	servers []*process
}

func newBalancer(t *testing.T, servers []*process) *balancer {
	b := &balancer{
		servers:   slices.Clone(servers),
		transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 20 * time.Second, DisableCompression: true},
	}
	b.Server = httptest.NewServer(&httputil.ReverseProxy{
		Transport: b,
		ErrorLog:  log.New(io.Discard, "", 0), // the load sees what was answered
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http" // the host is chosen for each try
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
	})
	t.Cleanup(b.transport.CloseIdleConnections)
	t.Cleanup(b.Close)
	return b
}

// replace puts another server in the place of one.
func (b *balancer) replace(old, other *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers[slices.Index(b.servers, old)] = other
}

// pick is the next server.
func (b *balancer) pick() *process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.servers[b.next.Add(1)%uint64(len(b.servers))]
}

// RoundTrip implements [http.RoundTripper].
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, errors.Join(err, r.Body.Close())
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
	}
	var refused error
	for range size {
		p := b.pick()
		try := r.Clone(r.Context())
		try.URL.Host = p.host()
		if len(body) > 0 {
			try.Body = io.NopCloser(bytes.NewReader(body))
		} else {
			try.Body = nil
		}
		response, err := b.transport.RoundTrip(try)
		var op *net.OpError
		switch {
		case err == nil:
			response.Body = b.watch(p, response)
			return response, nil
		case r.Context().Err() != nil: // whoever asked has gone
			return nil, err
		case errors.As(err, &op) && op.Op == "dial":
			refused = err
		default:
			b.brokenOff(p)
			return nil, err
		}
	}
	return nil, refused // three of four servers are there at any time
}

// brokenOff counts an exchange without an end, where a kill explains it.
func (b *balancer) brokenOff(p *process) {
	if p.killed.Load() {
		b.cut.Add(1)
	}
}

// watch sees an answer that breaks off.
func (b *balancer) watch(p *process, r *http.Response) io.ReadCloser {
	w := watched{ReadCloser: r.Body, broken: sync.OnceFunc(func() { b.brokenOff(p) })}
	if socket, ok := r.Body.(io.Writer); ok && r.StatusCode == http.StatusSwitchingProtocols {
		return &watchedSocket{w, socket}
	}
	return &w
}

// watched is the body of an answer.
type watched struct {
	io.ReadCloser
	broken func()
}

func (w *watched) Read(data []byte) (int, error) {
	n, err := w.ReadCloser.Read(data)
	if err != nil && err != io.EOF {
		w.broken()
	}
	return n, err
}

// watchedSocket is a connection that was taken over. It has no end that is in order for all that this
// side sees of it, but it ends with net.ErrClosed when the other one has left.
type watchedSocket struct {
	watched
	io.Writer
}

func (w *watchedSocket) Read(data []byte) (int, error) {
	n, err := w.ReadCloser.Read(data)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		w.broken()
	}
	return n, err
}
