package cli

import (
	"maps"
	"strings"
	"testing"
)

// everything is all that the server holds, as it would be dumped.
func (b *bench) everything() map[string]string {
	b.t.Helper()
	out := make(map[string]string)
	for _, name := range b.c.Keys(b.t.Context(), "*").Val() {
		out[name] = b.c.Dump(b.t.Context(), name).Val()
	}
	return out
}

// What only says what would be done changes no record and no key in the middle of a walk, in any direction, nor
// does a walk that is refused because it names another environment than the plan.
func TestNothingIsChanged(t *testing.T) {
	w := newWalked(t, 0)
	w.run(exitDone, "advance", "--all", "--no-instances")
	before := w.everything()
	for _, c := range []struct {
		code       int
		args, want string
	}{
		{exitDone, "run --dry-run --no-instances", "Nothing was changed."},
		{exitDone, "advance --all --dry-run --no-instances", "Nothing was changed."},
		{exitDone, "rollback --dry-run --no-instances", "Nothing was changed."},
		{exitGate, "run --yes --env other", "there is no fleet of environment other here"},
		{exitGate, "advance --all --env other", "there is no fleet of environment other here"},
		{exitUsage, "run --yes --env other --no-instances", "--no-instances wants the plan's own environment"},
	} {
		run := runCLI(t, nil, append(strings.Fields(c.args), "-f", w.path, "--redis", w.server.URL())...)
		if said := run.stdout + run.stderr; run.code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s", c.args, run.code, c.code, c.want, said)
		}
		if !maps.Equal(before, w.everything()) {
			t.Errorf("%s has changed something", c.args)
		}
	}
	w.run(exitDone, "advance", "--all", "--no-instances")
	if maps.Equal(before, w.everything()) {
		t.Error("a step changes nothing that this test sees")
	}
}
