package cli

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// records writes the records of a fleet that a test describes.
type records struct {
	t     *testing.T
	plan  *plan.Plan
	store *fleet.Store
}

const recordsEpoch = "epoch"

func newRecords(t *testing.T, s *redistest.Server) *records {
	t.Helper()
	p, err := plan.Parse("rekey.yaml", []byte(cliPlan), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return &records{t, p, fleet.NewStore(p, s.Client())}
}

// found begins the records as the first instance does: every rule at legacy.
func (r *records) found() {
	r.t.Helper()
	hashes := make(map[string]string)
	for i, rule := range r.plan.Rules {
		hashes[rule.Name] = r.plan.Hash(i)
	}
	if _, err := r.store.Found(r.t.Context(), recordsEpoch, hashes, "web-1"); err != nil {
		r.t.Fatal(err)
	}
}

// target sets where a rule is, with the mark of its phase.
func (r *records) target(rule string, p phase.Phase) {
	r.t.Helper()
	i, _ := r.plan.Index(rule)
	text := fmt.Sprintf(`{"phase":%q,"epoch":%q,"gen":1,"seq":%d,"hash":%q,"at":%q,"format":1}`,
		p, recordsEpoch, p, r.plan.Hash(i), time.Now().UTC().Format(time.RFC3339))
	if err := r.store.Client().HSet(r.t.Context(), r.store.Keys().Phase(), rule, text).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// join enters an instance that has reached a phase of each rule.
func (r *records) join(name string, sessions, limits phase.Phase, changes ...func(*fleet.Instance)) {
	r.t.Helper()
	in := &fleet.Instance{
		ID: strings.ToUpper(name) + "-AAAAAAAA", Name: name, Host: "host", PID: 42, Version: "v1.0.0", Format: fleet.Format,
		Lease: (15 * time.Second).Microseconds(), Started: statusAt, Rules: make(map[string]fleet.RuleState),
	}
	for i, p := range []phase.Phase{sessions, limits} {
		state := fleet.RuleState{Hash: r.plan.Hash(i), Phase: p, Epoch: recordsEpoch, Mark: fleet.Mark{Gen: 1, Seq: int64(p)}}
		if p == phase.Legacy {
			state.Mark = fleet.Mark{} // as the records begin
		}
		in.Rules[r.plan.Rules[i].Name] = state
	}
	for _, change := range changes {
		change(in)
	}
	if _, err := r.store.Join(r.t.Context(), in); err != nil {
		r.t.Fatal(err)
	}
}

// normaliseStatus takes out what differs between runs.
func normaliseStatus(s *redistest.Server, text string) string {
	text = normalise(s, text)
	text = regexp.MustCompile(`rekey\.yaml|/\S+/rekey\.yaml`).ReplaceAllString(text, "PLAN")
	text = regexp.MustCompile(`lease for [0-9.]+m?s`).ReplaceAllString(text, "lease for TIME")
	return regexp.MustCompile(`\b[01]s\b`).ReplaceAllString(text, "0s")
}

func TestStatusScreens(t *testing.T) {
	lost := func(in *fleet.Instance) { in.Lease = 0 }
	for _, c := range []struct {
		name    string
		prepare func(r *records)
		want    []string
	}{
		{"empty", func(*records) {}, []string{"no fleet of environment prod", "Try: open the application with rekey.WithFleet"}},
		{"parked", func(r *records) {
			r.found()
			r.join("web-1", phase.Legacy, phase.Legacy)
			r.join("web-2", phase.Legacy, phase.Legacy)
		}, []string{"2 of 2", "Next: rekey run"}},
		{"between", func(r *records) {
			r.found()
			r.target("sessions", phase.Guard)
			r.join("web-1", phase.Guard, phase.Legacy)
			r.join("web-2", phase.Legacy, phase.Legacy, func(in *fleet.Instance) {
				state := in.Rules["sessions"]
				state.Behind = "a transaction is open"
				in.Rules["sessions"] = state
			})
		}, []string{"held up  web-2 (host, pid 42) is in legacy and has not reached guard: a transaction is open"}},
		{"dead", func(r *records) {
			r.found()
			r.join("web-1", phase.Legacy, phase.Legacy)
			r.join("web-2", phase.Legacy, phase.Legacy, lost)
		}, []string{"1 live, 1 lost", "first    web-2 (host, pid 42) has not renewed its lease"}},
		{"observer", func(r *records) {
			r.found()
			r.target("sessions", phase.Dual)
			r.join("web-1", phase.Dual, phase.Legacy)
			r.join("cron", phase.Legacy, phase.Legacy, func(in *fleet.Instance) { in.Observer = true })
		}, []string{"unsafe    cron obeys flags and is with sessions in legacy beside dual", "held up  cron (host, pid 42) obeys flags"}},
		{"other-plan", func(r *records) {
			r.found()
			r.join("web-1", phase.Legacy, phase.Legacy, func(in *fleet.Instance) {
				in.Rules["sessions"] = fleet.RuleState{Hash: "other", Phase: phase.Legacy}
				in.Rules["basket"] = fleet.RuleState{Hash: "x", Phase: phase.Legacy}
			})
		}, []string{"the fleet has 1 rule that", "basket", "-f FILE", "its plan has another rule"}},
		{"lost-records", func(r *records) {
			r.join("web-1", phase.Dual, phase.Move)
		}, []string{"unsafe", "Try: rekey restore-phase sessions --phase dual", "Try: rekey restore-phase limits --phase move"}},
		{"gone", func(r *records) {
			r.found()
		}, []string{"every process that had joined has left"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			c.prepare(newRecords(t, b.server))
			run := b.run(exitDone, "status")
			golden(t, "status/"+c.name+".txt", normaliseStatus(b.server, run.stdout))
			for _, want := range c.want {
				if !strings.Contains(run.stdout, want) {
					t.Errorf("no %q in\n%s", want, run.stdout)
				}
			}
		})
	}
}
