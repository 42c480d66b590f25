package fleettest

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/load"
)

// secondsVariable is how long a walk takes about, where the default is too short.
const secondsVariable = "REKEY_WALK_SECONDS"

func walkTime(t *testing.T, otherwise time.Duration) time.Duration {
	t.Helper()
	text, ok := os.LookupEnv(secondsVariable)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number of seconds", secondsVariable, text)
	}
	return time.Duration(n) * time.Second
}

// show logs a report.
func show(t *testing.T, r *load.Report) {
	t.Helper()
	var text strings.Builder
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", text.String())
}

// excuse takes violations of a kind out of a report, as far as something explains so many.
func excuse(t *testing.T, r *load.Report, kind load.Kind, most uint64, why string) {
	t.Helper()
	if n := r.Violations[kind]; n > 0 && n <= most {
		t.Logf("%d times %s: %s, %d times", n, kind, why, most)
		delete(r.Violations, kind)
	}
}

// insured is how many hits of the limit that is spent were decided without Redis. A server that does not
// hear from Redis in time decides alone, and lets a hit pass rather than not: that is no fault of a
// walk, and on a busy machine it happens.
func (f *fleet) insured() uint64 {
	f.t.Helper()
	return uint64(f.metric("classwaves_ratelimit_decisions_total", `limit="join"`, `by="insurance"`))
}

// untroubled wants that no server saw two names differ, and that none was refused a command.
func (f *fleet) untroubled() {
	f.t.Helper()
	for _, name := range []string{"rekey_divergences_total", "rekey_refused_total"} {
		if n := f.metric(name); n != 0 {
			f.t.Errorf("%s is %v, want 0", name, n)
		}
	}
}
