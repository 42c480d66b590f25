package cli

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/joho/godotenv"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// flagsFile is what a file of flags said when it was read last: whoever waits for a gate looks its flags up again
// and again, and must see one state of the file, which a signal has put in force.
type flagsFile struct {
	path string
	now  atomic.Pointer[map[string]phase.Setting]
}

// openFlags reads a file for the first time.
func openFlags(path string) (*flagsFile, error) {
	values, err := readFlags(path)
	f := &flagsFile{path: path}
	f.now.Store(&values)
	return f, err
}

// lookup has the form of [os.LookupEnv].
func (f *flagsFile) lookup(name string) (string, bool) { return lookupIn(*f.now.Load())(name) }

func lookupIn(values map[string]phase.Setting) func(string) (string, bool) {
	return func(name string) (string, bool) {
		s, named := values[name]
		return s.Value, named && !s.Unset
	}
}

// steering are flags whose absence means off, or legacy. A file that was cut short while it was written must not
// take a process back to the legacy names, nor past a gate.
var steering = []string{phase.CachePrefixEnabled, phase.CacheDualWrite, phase.RLPrefixEnabled, phase.CacheGated}

// reload reads the file again, for the rules of a plan. What cannot be obeyed changes nothing.
func (f *flagsFile) reload(p *plan.Plan) error {
	values, err := readFlags(f.path)
	if err != nil {
		return fmt.Errorf("read --flags-file: %w", err)
	}
	before := *f.now.Load()
	for _, name := range steering {
		was, named := before[name]
		if name == phase.RLPrefixEnabled && was.Value == "0" {
			continue // at hold, from where its absence is the next step back
		}
		if _, still := values[name]; named && !was.Unset && !still {
			return fmt.Errorf("read --flags-file: %s does not name %s any more; write %s=0, or unset %s", f.path, name, name, name)
		}
	}
	for _, rule := range p.Rules {
		if rule.Flags == phase.FlagsNone {
			continue
		}
		if _, err := phase.FromFlags(rule.Flags, lookupIn(values)); err != nil {
			return fmt.Errorf("read --flags-file: %w", err)
		}
	}
	if _, err := phase.Gated(lookupIn(values)); err != nil {
		return fmt.Errorf("read --flags-file: %w", err)
	}
	f.now.Store(&values)
	return nil
}

// readFlags reads KEY=VALUE lines and the `unset KEY` of `rekey flags`, one after the other as a shell does.
func readFlags(path string) (map[string]phase.Setting, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := make(map[string]phase.Setting)
	var lines strings.Builder
	for line := range strings.Lines(string(data) + "\nunset \n") { // the end, as if something were unset there
		name, unset := strings.CutPrefix(line, "unset ")
		if !unset {
			lines.WriteString(line)
			continue
		}
		some, err := godotenv.Unmarshal(lines.String())
		if err != nil {
			return nil, err
		}
		for name, value := range some {
			values[name] = phase.Setting{Name: name, Value: value}
		}
		name = strings.TrimSpace(name)
		values[name] = phase.Setting{Name: name, Unset: true}
		lines.Reset()
	}
	return values, nil
}
