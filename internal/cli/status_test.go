package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/control"
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

// The name of the environment may be in the control prefix before {env} as well.
func TestStatusSeesAnotherEnvironment(t *testing.T) {
	s := redistest.Shared(t)
	if err := s.Client().HSet(t.Context(), "production:staging:phase", "sessions", "{}").Err(); err != nil {
		t.Fatal(err)
	}
	file := planFile(t, strings.Replace(cliPlan, "cw:{env}:rekey:", "production:{env}:", 1))
	got := runCLI(t, nil, "status", "-f", file, "--redis", s.URL())
	if want := "control records of another environment here: staging"; !strings.Contains(got.stdout, want) {
		t.Errorf("got %s%s, want %q in it", got.stdout, got.stderr, want)
	}
}

func TestStatusScreens(t *testing.T) {
	lost := func(in *fleet.Instance) { in.Lease = 0 }
	for _, c := range []struct {
		name    string
		prepare func(r *records)
		want    []string
	}{
		{"empty", func(*records) {}, []string{"no fleet of environment prod", "Try: open the application with rekey.WithFleet"}},
		{"other-environment", func(r *records) {
			r.store.Client().HSet(r.t.Context(), "cw:staging:rekey:phase", "sessions", "{}")
		}, []string{"control records of another environment here: staging", "Try: rekey status --env staging"}},
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
		}, []string{"unsafe    rule sessions: cron (host, pid 42) obeys flags and is in legacy beside the fleet in dual", "held up  cron (host, pid 42) obeys flags", "so no step can be made"}},
		{"flags", func(r *records) {
			observer := func(in *fleet.Instance) { in.Observer = true }
			r.join("web-1", phase.Dual, phase.Legacy, observer, func(in *fleet.Instance) {
				state := in.Rules["sessions"]
				state.Ungated = 1
				in.Rules["sessions"] = state
			})
			r.join("web-2", phase.Guard, phase.Legacy, observer)
			r.join("web-3", phase.Legacy, phase.Legacy, observer)
		}, []string{
			"3 instances: 3 observers", "there is no fleet of environment prod that could be", "web-1 (host, pid 42) went by flags where no verdict says",
			"unsafe    rule sessions: web-3 (host, pid 42) obeys flags and is in legacy beside web-1 (host, pid 42) in dual",
		}},
		{"other-plan", func(r *records) {
			r.found()
			r.join("web-1", phase.Legacy, phase.Legacy, func(in *fleet.Instance) {
				in.Rules["sessions"] = fleet.RuleState{Hash: "other", Phase: phase.Legacy}
				in.Rules["basket"] = fleet.RuleState{Hash: "x", Phase: phase.Legacy}
			})
		}, []string{"the fleet has 1 rule that", "basket", "-f FILE", "its plan has another rule"}},
		{"other-plan-all", func(r *records) {
			for i, rule := range r.plan.Rules {
				text := fmt.Sprintf(`{"phase":"legacy","epoch":%q,"gen":0,"seq":0,"hash":"other","at":%q,"format":1}`, recordsEpoch, time.Now().UTC().Format(time.RFC3339))
				if err := r.store.Client().HSet(r.t.Context(), r.store.Keys().Phase(), r.plan.Rules[i].Name, text).Err(); err != nil {
					r.t.Fatal(err, rule)
				}
			}
			r.join("web-1", phase.Legacy, phase.Legacy, func(in *fleet.Instance) {
				for name, state := range in.Rules {
					state.Hash = "other"
					in.Rules[name] = state
				}
			})
		}, []string{"the fleet has another plan than", "differ in sessions, limits", "Try: rekey status -f FILE, with the plan that the instances run with"}},
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

// A server that is not there, that is somebody else, or that wants a password is told apart in words.
func TestStatusOfNoServer(t *testing.T) {
	server := redistest.Start(t)
	b := &bench{t, server, server.Client(), planFile(t, cliPlan)}
	locked := b.server.URL()
	server.Kill()
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"status", "--watch"}, {"run", "--yes"}, {"rollback"}, {"audit"}, {"log"}, {"freeze"}} {
		run := b.run(exitFailed, args...)
		if run.stdout != "" || !strings.Contains(run.stderr, locked+" cannot be reached") || !strings.Contains(run.stderr, "redis-cli -u "+locked+" ping") {
			t.Errorf("%v, of a server that is down: got %s%s", args, run.stdout, run.stderr)
		}
	}
	server.Restart()
	b.set("CONFIG", "SET", "requirepass", "secret")
	if run := b.run(exitFailed, "status"); !strings.Contains(run.stderr, "refuses the login: NOAUTH") || !strings.Contains(run.stderr, "USER:PASSWORD@") {
		t.Errorf("of one that wants a password: got %s", run.stderr)
	}
	for url, want := range map[string]string{"redis://127.0.0.1:1": "cannot be reached", "redis://no.such.host.invalid": "cannot be reached", "127.0.0.1:6379": "--redis"} {
		run := runCLI(t, nil, "status", "-f", b.path, "--redis", url)
		if run.code != exitFailed && run.code != exitUsage || !strings.Contains(run.stderr, want) || !strings.Contains(run.stderr, "\nTry: ") {
			t.Errorf("%s: exit code %d, %s", url, run.code, run.stderr)
		}
	}
}

// Who holds the lock is on the screen, and what another controller is told.
func TestStatusWhileWalked(t *testing.T) {
	b := newBench(t)
	r := newRecords(t, b.server)
	r.found()
	r.join("web-1", phase.Legacy, phase.Legacy)
	c, err := control.Open(t.Context(), r.plan, control.Options{Client: b.c, Owner: "ada@laptop (pid 7)"})
	if err != nil {
		t.Fatal(err)
	}
	run := b.run(exitDone, "status")
	if !strings.Contains(run.stdout, "control   ada@laptop (pid 7) walks the fleet (generation 1, for ") || !strings.Contains(run.stdout, "Next: rekey status --watch") {
		t.Errorf("got %s", run.stdout)
	}
	for _, args := range [][]string{{"run", "--yes"}, {"advance", "sessions"}, {"rollback", "--to", "legacy", "sessions"}, {"restore-phase", "sessions", "--phase", "legacy"}, {"purge", "sessions"}} {
		run := b.run(exitFailed, args...)
		if !strings.Contains(run.stderr, "rekey: ada@laptop (pid 7) walks the fleet, since ") || !strings.Contains(run.stderr, "Try: rekey status --watch; or rekey rollback --take-over") {
			t.Errorf("%s: got %s", args[0], run.stderr)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if run := b.run(exitDone, "status"); !strings.Contains(run.stdout, "control   free; ") {
		t.Errorf("got %s", run.stdout)
	}
}

func TestStatusJSON(t *testing.T) {
	b := newBench(t)
	r := newRecords(t, b.server)
	r.found()
	r.target("sessions", phase.Guard)
	r.join("web-1", phase.Guard, phase.Legacy)
	r.join("web-2", phase.Legacy, phase.Legacy)
	var got statusReport
	text := b.run(exitDone, "status", "--json").stdout
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rules) != 2 || len(got.Instances) != 2 || got.Type != "status" || got.Environment != "prod" || got.At.IsZero() {
		t.Fatalf("got %s", text)
	}
	s := got.Rules[0]
	if s.Rule != "sessions" || s.Phase != "guard" || s.Parked || s.Reached != 1 || s.Live != 2 || s.Next != "dual" || s.Phases["guard"] != 1 || len(s.WaitsFor) < 2 {
		t.Errorf("got %+v", s)
	}
	if w := s.WaitsFor[0]; w.What != "behind" || !strings.HasPrefix(w.Name, "web-2 ") || w.Work {
		t.Errorf("got %+v", w)
	}
	if in := got.Instances[1]; in.Name != "web-2" || in.State != "live" || in.Rules[0].Reached || in.Rules[0].Phase != "legacy" || !in.Rules[1].Reached || in.LeaseSeconds != 15 {
		t.Errorf("got %+v", in)
	}
	// No list is null: a program need not ask.
	if strings.Contains(text, "null") {
		t.Errorf("null in %s", text)
	}
	if empty := newBench(t).run(exitDone, "status", "--json").stdout; strings.Contains(empty, "null") || !strings.Contains(empty, `"phase":""`) {
		t.Errorf("of an empty server: %s", empty)
	}
}

func TestFreezeThawLog(t *testing.T) {
	b := newBench(t)
	if run := b.run(exitDone, "log"); run.stdout != "nothing was done to this fleet yet\n" {
		t.Errorf("got %q", run.stdout)
	}
	if run := b.run(exitUsage, "freeze"); !strings.Contains(run.stderr, "no control record yet") {
		t.Errorf("got %s", run.stderr)
	}
	r := newRecords(t, b.server)
	r.found()
	r.join("web-1", phase.Legacy, phase.Legacy)
	if run := b.run(exitDone, "freeze", "sessions"); run.stdout != "frozen: sessions\n\nNext: rekey thaw sessions, when they may move again\n" {
		t.Errorf("got %q", run.stdout)
	}
	if run := b.run(exitDone, "status"); !strings.Contains(run.stdout, "legacy (frozen)") || !strings.Contains(run.stdout, "held up  it is frozen") {
		t.Errorf("got %s", run.stdout)
	}
	o := objects(t, b.run(exitDone, "freeze", "--json").stdout)
	if len(o) != 1 || o[0]["frozen"] != true || fmt.Sprint(o[0]["changed"]) != "[limits]" || fmt.Sprint(o[0]["already"]) != "[sessions]" {
		t.Errorf("got %v", o)
	}
	if run := b.run(exitDone, "thaw"); run.stdout != "thawed: sessions, limits\n" {
		t.Errorf("got %q", run.stdout)
	}
	run := b.run(exitDone, "log")
	lines := strings.Split(strings.TrimSpace(run.stdout), "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], "generation") || !strings.Contains(lines[1], "freeze, sessions") || !strings.Contains(lines[3], "thaw, sessions, limits") {
		t.Errorf("got %s", run.stdout)
	}
	entries := objects(t, b.run(exitDone, "log", "--json", "-n", "1").stdout)
	if len(entries) != 1 || entries[0]["type"] != "entry" || entries[0]["what"] != "thaw" || entries[0]["by"] == "" || entries[0]["at"] == nil {
		t.Errorf("got %v", entries)
	}
}
