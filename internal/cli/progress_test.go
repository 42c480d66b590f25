package cli

import (
	"testing"

	"github.com/classwaves/rekey/internal/sweep"
)

// A sweep may be held up before its first page: then there is nothing to say but that, as a line and as bars.
func TestProgressBeforeTheFirstPage(t *testing.T) {
	r := reading{Progress: sweep.Progress{Kind: sweep.Backfill, Rule: "sessions", Reason: "no answer from the server for 5s"}}
	if got, want := r.text(), "begins; no answer from the server for 5s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	screen := newBarScreen(true)
	if got := screen.View().Content; got != "" {
		t.Errorf("nothing is known, and %q is shown", got)
	}
	screen.now = r
	if got, want := screen.View().Content, "backfill sessions\n  no answer from the server for 5s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
