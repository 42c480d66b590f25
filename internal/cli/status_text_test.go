package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// statusAt is the server's clock of the screens.
var statusAt = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func screenOf(lines []line) string {
	var b bytes.Buffer
	writeLines(&b, lines)
	return b.String()
}

// mixedStatus is a fleet in which all that can be is so at once.
func mixedStatus() *statusReport {
	reached := func(sessions, limits string, ok bool, why string) []statusReached {
		return []statusReached{{Rule: "sessions", Phase: sessions, Reached: ok, Why: why}, {Rule: "limits", Phase: limits, Reached: true}}
	}
	return &statusReport{
		Type: "status", Plan: "rekey.yaml", Environment: "prod", At: statusAt,
		Server:  &statusServer{URL: "redis://10.0.0.1:6379", Flavor: "redis", Version: "7.2.4", Role: "master", Replicas: 1},
		Control: statusControl{Owner: "ada@laptop pid 77", Generation: 7, SecondsLeft: 9},
		Rules: []statusRule{
			{Rule: "sessions", Strategy: "mirror", Phase: "dual", Since: statusAt.Add(-192 * time.Second), Reached: 1, Live: 2, Reads: 1234567, Fallbacks: 12, Next: "settled",
				WaitsFor: []statusWait{
					{What: "instance", Name: "web-2", Text: "web-2 (h2, pid 4242) is in guard and has not reached dual: a transaction is open"},
					{What: "gate", Name: "copied", Text: "backfill, to prove that every logical key has its target copy", Work: true},
				}},
			{Rule: "limits", Strategy: "move", Phase: "legacy", Parked: true, Reached: 2, Live: 2, Next: "hold", Frozen: true,
				WaitsFor: []statusWait{{What: "frozen", Text: "it is frozen"}}},
		},
		Instances: []statusInstance{
			{ID: "AAAAAAAAAA", Name: "web-1", Host: "h1", PID: 11, Version: "v1.2.0", State: stateLive, RenewedSeconds: 1.2, LeaseSeconds: 15, Rules: reached("dual", "legacy", true, "")},
			{ID: "BBBBBBBBBB", Name: "web-2", Host: "h2", PID: 4242, Version: "v1.2.0", State: stateLive, RenewedSeconds: 3, LeaseSeconds: 15, Rules: reached("guard", "legacy", false, "a transaction is open")},
			{ID: "CCCCCCCCCC", Name: "web-3", Host: "h3", PID: 3, Version: "v1.1.0", State: stateLost, RenewedSeconds: 60, LeaseSeconds: 15, Rules: reached("guard", "legacy", false, "")},
			{ID: "DDDDDDDDDD", Name: "cron", Host: "h4", PID: 9, State: stateObserver, RenewedSeconds: 4, LeaseSeconds: 15, Rules: reached("legacy", "legacy", false, "")},
		},
		Findings: []statusFinding{{Level: levelUnsafe, Text: "cron obeys flags, not this fleet", Try: "open it with rekey.WithFleet"}},
		Next:     "rekey log",
	}
}

func TestStatusScreen(t *testing.T) {
	golden(t, "status/mixed.txt", screenOf(statusText(mixedStatus(), 0)))
	few := screenOf(statusText(mixedStatus(), 2))
	if !strings.Contains(few, "and 2 more; --instances 0 lists all") || strings.Contains(few, "web-1 ") {
		t.Errorf("the first two instances: %s", few)
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 1400 * time.Millisecond: "1s", 59 * time.Second: "59s", time.Minute: "1m", 192 * time.Second: "3m12s",
		time.Hour: "1h", 90 * time.Minute: "1h30m", 24 * time.Hour: "1d", 30 * time.Hour: "1d6h", 100 * 24 * time.Hour: "100d",
	} {
		if got := spanText(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	var b bytes.Buffer
	a := &app{stdout: &b}
	said := make(map[string]string)
	r := mixedStatus()
	tell := func() string {
		b.Reset()
		for _, c := range changesOf(r) {
			a.sayChange(said, r.At, c.name, c.text)
		}
		return b.String()
	}
	first := tell()
	for _, want := range []string{
		"fleet      4 instances: 2 live, 1 lost, 1 observer\n", "control    ada@laptop pid 77, generation 7\n",
		"sessions   dual, reached by 1 of 2; held up by web-2\n", "limits     legacy (frozen), reached by 2 of 2; held up by frozen\n", "unsafe     cron obeys flags",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	r.At = r.At.Add(time.Minute)
	r.Instances[0].RenewedSeconds, r.Control.SecondsLeft = 7, 3
	if got := tell(); got != "" {
		t.Errorf("nothing has changed, and it says %q", got)
	}
	r.Rules[0].Reached, r.Rules[0].WaitsFor = 2, nil
	if got := tell(); !strings.HasSuffix(got, "sessions   dual, reached by 2 of 2\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

// A thousand instances that are behind do not fill the screen.
func TestManyWaits(t *testing.T) {
	r := mixedStatus()
	r.Rules[0].WaitsFor = nil
	for range 1000 {
		r.Rules[0].WaitsFor = append(r.Rules[0].WaitsFor, statusWait{What: "behind", Text: "one has not reached dual"})
	}
	r.Rules[0].WaitsFor = append(r.Rules[0].WaitsFor, statusWait{What: "gate", Text: "backfill", Work: true})
	got := screenOf(statusText(r, 3))
	if strings.Count(got, "one has not reached dual") != mostAlike || !strings.Contains(got, "held up  and 996 more like these\n  first    backfill\n") {
		t.Errorf("got %s", got)
	}
}
