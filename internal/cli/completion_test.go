package cli

import (
	"slices"
	"strings"
	"testing"
)

// offered is what a shell is offered for a command line, without descriptions.
func offered(t *testing.T, plan string, words ...string) string {
	t.Helper()
	args := slices.Concat([]string{"__complete", "-f", plan}, words)
	run := mustExit(t, exitDone, runCLI(t, nil, args...))
	var out []string
	for line := range strings.Lines(run.stdout) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !strings.HasPrefix(word, ":") {
			out = append(out, word)
		}
	}
	return strings.Join(out, " ")
}

func TestCompletions(t *testing.T) {
	path := planFile(t, cliPlan)
	for _, c := range []struct {
		words string
		want  string
	}{
		{"advance |", "sessions limits"},
		{"advance sessions |", "limits"},
		{"run |", "sessions limits"},
		{"rollback |", "sessions limits"},
		{"freeze |", "sessions limits"},
		{"thaw |", "sessions limits"},
		{"log |", "sessions limits"},
		{"purge |", "sessions limits"},
		{"adopt |", "sessions limits"},
		{"adopt sessions |", ""},
		{"flags |", "sessions limits"},
		{"restore-phase |", "sessions limits"},
		{"restore-phase sessions |", ""},
		{"status |", ""},
		{"audit |", ""},
		{"advance --to |", "guard dual settled drain sealed prefixed hold move"},
		{"advance limits --to |", "hold move prefixed"},
		{"rollback limits --to |", "legacy hold move"},
		{"rollback sessions --to |", "legacy guard dual settled drain sealed"},
		{"run sessions --until |", "guard dual settled drain sealed prefixed"},
		{"restore-phase limits --phase |", "legacy hold move prefixed"},
		{"backfill --assume-phase |", "dual drain"},
		{"reverse limits --assume-phase |", "hold"},
		{"flags --phase |", "legacy guard dual settled drain sealed prefixed hold move"},
		{"run --skip |", "verified quiet"},
		{"adopt sessions --reads |", "target legacy"},
		{"adopt sessions --leave |", "legacy prefixed"},
	} {
		before, typed, _ := strings.Cut(c.words, "|")
		if got := offered(t, path, append(strings.Fields(before), typed)...); got != c.want {
			t.Errorf("%s: got %q, want %q", c.words, got, c.want)
		}
	}
	// Without a plan there are no rules to offer, and no error.
	if got := offered(t, "nowhere.yaml", "advance", ""); got != "" {
		t.Errorf("without a plan: %q", got)
	}
}
