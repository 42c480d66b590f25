package control_test

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

func (w *world) fence(o control.FenceOptions) control.Fence {
	w.t.Helper()
	f, err := control.PlanFence(w.t.Context(), w.store, w.plan, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// A client that was forgotten fails loudly on names that are dead, and on nothing else that was allowed and is
// in the plan.
func TestFence(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	w.fill(5)
	w.join("a")
	w.do("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-@dangerous")
	w.do("ACL", "SETUSER", "reader", "on", ">pw", "%R~session:*", "~own:*", "+@read", "+ping")
	w.do("ACL", "SETUSER", "other", "on", ">pw", "~other:*", "+@all")
	w.do("ACL", "SETUSER", "gone", "off", "~*", "+@all")
	if f := w.fence(control.FenceOptions{}); len(f.Rules) != 0 || len(f.Users) != 0 || len(f.Notes) == 0 {
		t.Errorf("at legacy: got %+v, want nothing to fence", f)
	}
	w.run(0, "sessions")
	f := w.fence(control.FenceOptions{Keep: []string{"else:*"}})
	if !slices.Equal(f.Rules, []string{"sessions"}) || !slices.Equal(f.Alive, []string{"limits"}) {
		t.Errorf("got %v dead and %v alive", f.Rules, f.Alive)
	}
	var users []string
	for _, u := range f.Users {
		users = append(users, u.User)
	}
	slices.Sort(users)
	if !slices.Equal(users, []string{"app", "default", "reader"}) {
		t.Errorf("got users %v, want app, default and reader", users)
	}
	f = w.fence(control.FenceOptions{Keep: []string{"else:*"}, Users: []string{"app", "reader"}})
	app, reader := w.stranger(asUser("app", "pw")), w.stranger(asUser("reader", "pw"))
	if err := app.Get(t.Context(), "session:1").Err(); err != redis.Nil {
		t.Errorf("before the fence: got %v, want nil", err)
	}
	if err := f.Apply(t.Context(), w.store, "carla"); err != nil {
		t.Fatal(err)
	}
	for name, allowed := range map[string]bool{
		"session:1": false, "cw:test:session:1": true, "limit:1": true, "cw:test:limit:1": true, "else:1": true, "rekey:test:x": true, "own:1": false,
	} {
		if got := app.Exists(t.Context(), name).Err() == nil; got != allowed {
			t.Errorf("app and %s: allowed %v, want %v", name, got, allowed)
		}
	}
	for name, allowed := range map[string]bool{"session:1": false, "own:1": true, "cw:test:session:1": false} {
		if got := reader.Exists(t.Context(), name).Err() == nil; got != allowed {
			t.Errorf("reader and %s: allowed %v, want %v", name, got, allowed)
		}
	}
	for _, u := range f.Users {
		if u.User == "app" && u.Undo != "ACL SETUSER app resetkeys ~*" {
			t.Errorf("got %q to take it back", u.Undo)
		}
	}
	if log := w.log(); log[len(log)-1].What != "fence" || log[len(log)-1].By != "carla" {
		t.Errorf("got %+v as the last entry of the log", log[len(log)-1])
	}
	// Phases that are given count instead of the targets, and no user is left out without a word.
	if f := w.fence(control.FenceOptions{Phases: map[string]phase.Phase{"limits": phase.Prefixed}}); !slices.Equal(f.Rules, []string{"limits"}) {
		t.Errorf("got %v dead, want limits", f.Rules)
	}
	_, err := control.PlanFence(t.Context(), w.store, w.plan, control.FenceOptions{Users: []string{"nobody"}})
	wantWords(t, err, `no user "nobody"`)
}

func TestGlobsMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"*", "session:*", true}, {"session:*", "session:*", true}, {"sess*", "*ion:1", true}, {"session:*", "limit:*", false},
		{"s?ssion:*", "session:1", true}, {"[st]ession:*", "session:*", true}, {"[^s]ession:*", "session:*", false}, {`\*`, "a", false},
		{`\*`, "*", true}, {"", "", true}, {"", "*", true}, {"", "a", false}, {"a*b", "*c*", true}, {"a*b", "*bc", false}, {"[a-c]x", "bx", true},
		{"cw:*", "session:*", false}, {"*:1", "session:*", true},
	} {
		for _, pair := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			if got := control.GlobsMeet(pair[0], pair[1]); got != c.want {
				t.Errorf("%q and %q: got %v, want %v", pair[0], pair[1], got, c.want)
			}
		}
	}
}

// Whatever name both match, the two are said to meet.
func FuzzGlobsMeet(f *testing.F) {
	f.Add("session:*", "s*", "session:1")
	f.Add("[a-z]*", "?x", "ax")
	f.Fuzz(func(t *testing.T, a, b, name string) {
		if len(a) > 50 || len(b) > 50 || len(name) > 50 {
			return
		}
		if keyname.GlobMatch([]byte(a), []byte(name)) && keyname.GlobMatch([]byte(b), []byte(name)) && !control.GlobsMeet(a, b) {
			t.Errorf("%q and %q both match %q", a, b, name)
		}
	})
}
