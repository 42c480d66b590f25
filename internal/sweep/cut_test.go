package sweep_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// cutLink is a network that holds a page of a sweep back, and then cuts the sweep.
type cutLink struct {
	t      testing.TB
	link   *redistest.Link
	client *redis.Client // of the sweep: what is dialled after the cut goes past the link
	cut    atomic.Bool
	pages  atomic.Int32
}

// newCutLink holds back the third page of commands with a word.
func newCutLink(t testing.TB, server *redistest.Server, word string) *cutLink {
	c := &cutLink{t: t, link: redistest.SlowLink(t, server.Addr())}
	c.client = server.Client(func(o *redis.Options) {
		direct, dialer := o.Addr, new(net.Dialer)
		o.MaxRetries = -1
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			if c.cut.Load() {
				return dialer.DialContext(ctx, network, direct)
			}
			conn, err := dialer.DialContext(ctx, network, c.link.Addr())
			return &heldConn{conn, c, []byte(word)}, err
		}
	})
	return c
}

// heldConn is a connection of the sweep over the link.
type heldConn struct {
	net.Conn
	on   *cutLink
	word []byte
}

func (h *heldConn) Write(b []byte) (int, error) {
	if !bytes.Contains(b, h.word) || h.on.pages.Add(1) != 3 {
		return h.Conn.Write(b)
	}
	link := h.on.link
	redistest.WaitFor(h.on.t, 10*time.Second, func() bool { return link.Pending(redistest.ToServer) == 0 })
	link.Stall(redistest.ToServer)
	n, err := h.Conn.Write(b)
	redistest.WaitFor(h.on.t, 10*time.Second, func() bool { return link.Pending(redistest.ToServer) >= n })
	h.on.cut.Store(true)
	link.CutClients()
	return n, err
}

// release lets through what was held back.
func (c *cutLink) release() {
	c.link.Resume(redistest.ToServer)
	redistest.WaitFor(c.t, 10*time.Second, func() bool { return c.link.Pending(redistest.ToServer) == 0 && c.link.Conns() == 0 })
}

// TestACutSweepEndsBeforeTheNextOfAnotherKind: what a sweep of another phase had on its way when it was cut does not come behind
// what the next one has proven.
func TestACutSweepEndsBeforeTheNextOfAnotherKind(t *testing.T) {
	const keys = 500
	server := redistest.Shared(t)
	client := server.Client()
	seedKeys(t, client, "limit:", keys)
	through := newCutLink(t, server, "RENAMENX")
	_, err := sweep.Run(t.Context(), sweep.Options{
		Client: through.client, Plan: parse(t, testPlan), Rule: "limits", Kind: sweep.Relocate, Phase: phase.Move, Page: 20,
	})
	if err == nil || !through.cut.Load() {
		t.Fatal("the sweep was not cut: the test shows nothing")
	}
	const name = "rekey:test:sweep:relocate:limits"
	var record map[string]any
	if err := json.Unmarshal([]byte(client.Get(t.Context(), name).Val()), &record); err != nil {
		t.Fatal(err)
	}
	record["until"] = 1 // else the next one waits until it has run out
	text, _ := json.Marshal(record)
	do(t, client, "SET", name, text)

	mustHold(t, run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "limits", Kind: sweep.Reverse, Phase: phase.Hold}), phase.Returned)
	through.release()
	if n := len(client.Keys(t.Context(), target("limit:*")).Val()); n > 0 {
		t.Errorf("%d keys were moved away after it was proven that none is", n)
	}
}

// TestASweepOfAnotherPhaseIsWaitedFor, and where it lives its owner is named.
func TestASweepOfAnotherPhaseIsWaitedFor(t *testing.T) {
	client := redistest.Shared(t).Client()
	seedKeys(t, client, "limit:", 500)
	back := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "limits", Kind: sweep.Reverse, Phase: phase.Hold}
	tried := false
	o := sweep.Options{
		Client: client, Plan: parse(t, testPlan), Rule: "limits", Kind: sweep.Relocate, Phase: phase.Move, Page: 20, Owner: "somebody@here",
		OnProgress: func(sweep.Progress) {
			if tried {
				return
			}
			tried = true
			_, err := sweep.Run(t.Context(), back)
			var held *sweep.LeaseError
			if !errors.As(err, &held) || held.Owner != "somebody@here" || !strings.Contains(err.Error(), `relocate of rule "limits"`) {
				t.Errorf("got %v, want that relocate is under way", err)
			}
		},
	}
	mustHold(t, run(t, o), phase.Relocated)
	if !tried {
		t.Error("no second sweep was tried")
	}
	mustHold(t, run(t, back), phase.Returned)
}

// TestACutPurgeOfAFullServer: no record names its connections, and it closes them itself when it goes on.
func TestACutPurgeOfAFullServer(t *testing.T) {
	const keys = 500
	server := redistest.Start(t, redistest.WithConfig("maxmemory-policy noeviction"))
	client := server.Client()
	seedKeys(t, client, target("thing:"), keys)
	do(t, client, "SET", "somebody", strings.Repeat("x", 2<<20))
	do(t, client, "CONFIG", "SET", "maxmemory", "1mb")
	through := newCutLink(t, server, "UNLINK")
	r := run(t, sweep.Options{
		Client: through.client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Purge, Phase: phase.Guard, Execute: true, Page: 20,
		Patience: time.Minute,
	})
	if mustNotHold(t, r, phase.NoTarget, "the server was full"); !through.cut.Load() {
		t.Fatal("the sweep was not cut: the test shows nothing")
	}
	do(t, client, "CONFIG", "SET", "maxmemory", "0")
	seedKeys(t, client, target("thing:"), keys) // of a later phase
	through.release()
	if n := len(client.Keys(t.Context(), target("thing:*")).Val()); n != keys {
		t.Errorf("%d keys were removed after the purge had ended", keys-n)
	}
}
