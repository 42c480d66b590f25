package chaostest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/history"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// rules are the rules of the plan by name, which is also what the names of their keys begin with.
var rules = []string{"mirror", "move"}

// lease is long enough for a busy machine to renew it, and short enough to be waited for.
const lease = 2 * time.Second

const planText = `
version: 1
environment: test
server: {url: "redis://%s"}
fleet: {lease: 2s, renew: 400ms, margin: 400ms}
soak: 0s
rules:
  - {name: mirror, legacy: "mirror:{rest...}", target: "cw:{env}:mirror:{rest...}", strategy: mirror}
  - {name: move, legacy: "move:{rest...}", target: "cw:{env}:move:{rest...}", strategy: move}
`

// world is a server, and the processes around it, each with a network of its own.
type world struct {
	t      *testing.T
	dir    string
	seed   uint64
	began  int64 // by clock
	server *redistest.Server
	plan   *plan.Plan // with the server's own address

	instances  []*worker
	data       []*redistest.Link // by instance: of its application
	records    []*redistest.Link // by instance: of its agent
	controller *worker
	command    *redistest.Link // of the controller
}

// newWorld starts a server and makes the processes, which are not started yet.
func newWorld(t *testing.T, instances int, seed uint64) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), seed: seed, began: clock(),
		server: redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always")),
	}
	p, err := plan.Load(w.writePlan("plan", w.server.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	w.plan = p
	for n := range instances {
		kind := []clientKind{goRedisClient, rueidisClient}[n%2]
		w.data = append(w.data, redistest.SlowLink(t, w.server.Addr()))
		w.records = append(w.records, redistest.SlowLink(t, w.server.Addr()))
		name := fmt.Sprintf("web-%d", n)
		w.instances = append(w.instances, w.worker(job{
			Role: anInstance, Name: name, Number: n, Client: kind,
			Plan: w.writePlan(name, w.records[n].Addr()), Addr: w.data[n].Addr(),
		}))
	}
	w.command = redistest.SlowLink(t, w.server.Addr())
	w.controller = w.worker(job{
		Role: aController, Name: "operator", Number: instances, Plan: w.writePlan("operator", w.command.Addr()),
	})
	return w
}

// writePlan writes the plan for somebody who reaches the server by an address.
func (w *world) writePlan(name, addr string) string {
	path := filepath.Join(w.dir, name+".yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, planText, addr), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) worker(j job) *worker {
	j.Seed, j.Began = w.seed+uint64(j.Number)<<20, w.began
	j.Log = filepath.Join(w.dir, j.Name+".log")
	return &worker{job: j, output: filepath.Join(w.dir, j.Name+".out")}
}

// all are all processes but the server.
func (w *world) all() []*worker { return append([]*worker{w.controller}, w.instances...) }

// start starts all processes. They are killed at the end of the test, if they live until then.
func (w *world) start() {
	w.t.Helper()
	for _, one := range w.all() {
		if err := one.start(); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(one.kill)
	}
	w.t.Cleanup(w.saidLast)
}

// saidLast shows what the processes of a test that failed have said in the end.
func (w *world) saidLast() {
	if !w.t.Failed() {
		return
	}
	for _, one := range w.all() {
		text, err := os.ReadFile(one.output)
		if err != nil {
			w.t.Error(err)
			continue
		}
		const last = 4000
		w.t.Logf("%s:\n%s", one.job.Name, text[max(0, len(text)-last):])
	}
}

// control opens a controller in this process, straight at the server, in place of the one that runs.
func (w *world) control() *control.Controller {
	w.t.Helper()
	o := controlOptions()
	o.Owner, o.Patience = "test", time.Minute
	c, err := control.Open(w.t.Context(), w.plan, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// log is the audit log.
func (w *world) log() []control.Entry {
	w.t.Helper()
	client := w.server.Client()
	all, err := control.Log(context.Background(), fleet.NewStore(w.plan, client), 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// record is what all processes did, put together.
type record struct {
	seed    uint64
	began   int64
	parts   map[string]*history.Recorder // by kind and keys
	kinds   map[string]kind
	done    map[string]map[phase.Phase]int // operations with a reply, by rule and phase
	ops     int
	unknown int
	refused int
	strange []string // answers that nobody expects
}

func newRecord(w *world) *record {
	r := &record{
		seed: w.seed, began: w.began, parts: make(map[string]*history.Recorder), kinds: make(map[string]kind),
		done: make(map[string]map[phase.Phase]int),
	}
	for _, rule := range rules {
		r.done[rule] = make(map[phase.Phase]int)
	}
	for _, k := range kinds() {
		r.kinds[k.name] = k
	}
	return r
}

// read adds what one worker did in all its lives.
func (r *record) read(w *worker) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for life := range w.lives {
		open := make(map[int]line) // by goroutine
		err := readLog(w.logOf(life), func(l line) error {
			if l.Call != nil {
				open[l.Work] = l
				return nil
			}
			call, ok := open[l.Work]
			if !ok {
				return fmt.Errorf("%s: a return without a call", w.job.Name)
			}
			delete(open, l.Work)
			r.add(w.job.Name, call, l)
			return nil
		})
		if err != nil {
			return err
		}
		for _, call := range open {
			r.add(w.job.Name, call, line{})
		}
	}
	return nil
}

// add adds one operation.
func (r *record) add(who string, call, end line) {
	switch {
	case end.NotIt:
		r.refused++
		return
	case end.Reply == nil:
		r.unknown++
		if strings.HasPrefix(end.Error, illegal) {
			r.strange = append(r.strange, fmt.Sprintf("%s: %s %s: %s", who, call.Call.Name, call.Call.Key, end.Error))
		}
		end.Reply = &history.Reply{Unknown: true}
	default:
		rule, _, _ := strings.Cut(call.Call.Key, ":")
		r.done[rule][call.Phase]++
	}
	r.ops++
	r.client(call.Kind, call.Call.Key).Enter(*call.Call, *end.Reply, call.At, end.At)
}

// client gives a recorder's client for one operation on a key. The histories of all keys in one recorder would
// be too many for the time that one verdict has.
func (r *record) client(kind, key string) *history.Client {
	const together = 5 // of the characters of a generation's number and its key's, so tens of them
	part := kind + " " + key[:max(0, len(key)-together)]
	if r.parts[part] == nil {
		r.parts[part] = history.NewRecorder(r.seed)
	}
	return r.parts[part].Client()
}

// judge wants each key's history to be linearizable.
func (r *record) judge() error {
	for part, rec := range r.parts {
		kind, _, _ := strings.Cut(part, " ")
		ok, err := history.Linearizable(r.kinds[kind].model, rec)
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		if !ok {
			return &violation{kind, part}
		}
	}
	return nil
}

// violation is a history that no server could have had.
type violation struct{ kind, part string }

func (v *violation) Error() string { return v.part + ": the history is not linearizable" }

// check fails the test for a history that is not linearizable, with a drawing.
func (r *record) check(t *testing.T) {
	t.Helper()
	err := r.judge()
	var v *violation
	if errors.As(err, &v) {
		history.Check(t, r.kinds[v.kind].model, r.parts[v.part])
	}
	if err != nil {
		t.Error(err)
	}
	for _, s := range r.strange[:min(len(r.strange), 10)] {
		t.Error(s)
	}
}
