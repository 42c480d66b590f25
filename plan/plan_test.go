package plan

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/phase"
)

// env reads "A=1 B=0" as an environment.
func env(text string) func(string) (string, bool) {
	vars := map[string]string{}
	for _, f := range strings.Fields(text) {
		name, value, _ := strings.Cut(f, "=")
		vars[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

const oneRule = `rules: [{name: s, legacy: "s:{id}", target: "cw:{env}:s:{id}"}]
`

func TestLoadClassroom(t *testing.T) {
	p, err := Load(filepath.Join("testdata", "classwaves.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(p.Rules), 13; got != want || p.Names().Len() != want {
		t.Fatalf("got %d rules and %d pairs, want %d", got, p.Names().Len(), want)
	}
	for _, c := range []struct{ key, rule, target string }{
		{"query_cache:session-list:a:b", "query_cache", "cw:prod:query_cache:session-list:a:b"},
		{"tagver:teacher:7", "tag_versions", "cw:prod:tagver:teacher:7"},
		{"analytics:session:1", "analytics_sessions", "cw:prod:analytics:session:1"},
		{"analytics:group:1", "analytics_groups", "cw:prod:analytics:group:1"},
		{"analytics:teacher:1:dashboard", "dashboards", "cw:prod:analytics:teacher:1:dashboard"},
		{"rl:general:::1", "rate_limits", "cw:prod:rl:general:::1"},
		{"secure_session:1", "sessions", "cw:prod:secure_session:1"},
		{"teacher_sessions:1", "teacher_sessions", "cw:prod:teacher_sessions:1"},
		{"session:1:access_code", "session_codes", "cw:prod:session:1:access_code"},
		{"access_code:ABC234", "access_codes", "cw:prod:access_code:ABC234"},
		{"csrf:1", "csrf", "cw:prod:csrf:1"},
		{"query_cache_lock:t:k", "query_cache_locks", "cw:prod:query_cache_lock:t:k"},
		{"csrf_previous:1", "csrf_previous", "cw:prod:csrf_previous:1"},
	} {
		i, isTarget := p.Names().Find([]byte(c.key))
		if i < 0 || isTarget || p.Rules[i].Name != c.rule {
			t.Errorf("%q: found rule %d, target %v, want %s", c.key, i, isTarget, c.rule)
			continue
		}
		target, ok := p.Names().Pair(i).AppendTarget(nil, []byte(c.key))
		if !ok || string(target) != c.target {
			t.Errorf("%q: got target %q, want %q", c.key, target, c.target)
		}
		wantStrategy, wantFlags := phase.Mirror, phase.FlagsCache
		if c.rule == "rate_limits" {
			wantStrategy, wantFlags = phase.Relocate, phase.FlagsRL
		}
		if r := p.Rules[i]; r.Strategy != wantStrategy || r.Flags != wantFlags || r.Line != i+6 {
			t.Errorf("%s: got %+v", c.rule, r)
		}
	}
}

func TestDefaults(t *testing.T) {
	p, err := Parse("rekey.yaml", []byte("version: 1\nenvironment: prod\n"+oneRule), env(""))
	if err != nil {
		t.Fatal(err)
	}
	want := Plan{
		File: "rekey.yaml", Environment: "prod", Databases: []int{0}, Soak: 10 * time.Minute,
		Fleet: Fleet{Lease: 15 * time.Second, Renew: 5 * time.Second, Margin: 3 * time.Second},
		Rules: []Rule{{Name: "s", LegacyText: "s:{id}", TargetText: "cw:{env}:s:{id}", Strategy: phase.Mirror, Line: 3}},
	}
	got := *p
	got.names, got.control, got.controlText = nil, "", ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v\nwant %#v", got, want)
	}
	if got, want := p.ControlPrefix(), "rekey:prod:"; got != want {
		t.Errorf("control prefix: got %q, want %q", got, want)
	}
}

// Editors of Windows begin a file with a byte order mark, which is no part of the text.
func TestByteOrderMark(t *testing.T) {
	const text = "version: 1\nenvironment: prod\n" + oneRule
	bare, err := Parse("rekey.yaml", []byte(text), env(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, mark := range []string{"\ufeff", "\ufeff\r\n", "\ufeff# a plan\n", "\ufeff---\n"} {
		p, err := Parse("rekey.yaml", []byte(mark+text), env(""))
		if err != nil || p.Hash(0) != bare.Hash(0) {
			t.Errorf("behind %q: got %v, %v, want the plan without it", mark, p, err)
		}
	}
	if _, err := Parse("rekey.yaml", []byte("\ufeff\ufeff"+text), env("")); err == nil {
		t.Error("a second mark is taken")
	}
}

func TestEverySetting(t *testing.T) {
	p, err := Parse("rekey.yaml", []byte(`
version: 1
environment: ${CW_ENV}
control_prefix: "cw:{env}:rekey:"
server:
  url: "rediss://app:${PASSWORD}@cache.example:6380/2"
  sentinel: ["10.0.0.1:26379", "[::1]:26379"]
  tls: {ca: ca.pem, cert: cert.pem, key: key.pem}
  evicts: ${EVICTS}
databases: [2, 0]
fleet: {lease: 1m, renew: 20s, margin: 500ms}
soak: ${SOAK}
audit:
  allow:
    - ${NOTE} $${Y} $
    - 10.0.0.7
rules:
  - name: all-keys_1
    legacy: "{key...}"
    target: "cw:{env}:{key...}"
    strategy: move
    colocate: true
    flags: rl
`), env("CW_ENV=eu-1 PASSWORD=$X$$ EVICTS=true SOAK=0s NOTE=${X}"))
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := Plan{
		File: "rekey.yaml", Environment: "eu-1", Databases: []int{2, 0}, Audit: Audit{Allow: []string{"${X} ${Y} $", "10.0.0.7"}},
		Server: Server{
			URL: "rediss://app:$X$$@cache.example:6380/2", Sentinel: []string{"10.0.0.1:26379", "[::1]:26379"},
			TLS: TLS{CA: "ca.pem", Cert: "cert.pem", Key: "key.pem"}, Evicts: &yes,
		},
		Fleet: Fleet{Lease: time.Minute, Renew: 20 * time.Second, Margin: 500 * time.Millisecond},
		Rules: []Rule{{
			Name: "all-keys_1", LegacyText: "{key...}", TargetText: "cw:{env}:{key...}", Strategy: phase.Relocate, Colocate: true,
			Flags: phase.FlagsRL, Line: 18,
		}},
	}
	got := *p
	got.names, got.control, got.controlText = nil, "", ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v\nwant %#v", got, want)
	}
	if got, want := p.ControlPrefix(), "cw:eu-1:rekey:"; got != want {
		t.Errorf("control prefix: got %q, want %q", got, want)
	}
}

func TestEvictsHasThreeStates(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", "unset"}, {"server: {evicts: true}", "true"}, {"server: {evicts: false}", "false"}, {"server: {url: \"\"}", "unset"},
	} {
		p, err := Parse("f", []byte("version: 1\nenvironment: prod\n"+c.line+"\n"+oneRule), env(""))
		if err != nil {
			t.Fatal(err)
		}
		got := "unset"
		if e := p.Server.Evicts; e != nil {
			got = map[bool]string{true: "true", false: "false"}[*e]
		}
		if got != c.want {
			t.Errorf("%q: got %s, want %s", c.line, got, c.want)
		}
	}
}

func TestEnvironmentOfAPlan(t *testing.T) {
	for _, c := range []struct {
		line string
		opts []Option
		want string
	}{
		{"environment: prod", nil, "prod"},
		{"environment: prod", []Option{WithEnvironment("dev")}, "dev"},
		{"environment: prod", []Option{WithEnvironment("")}, "prod"},
		{"environment: prod", []Option{WithDefaultEnvironment("dev")}, "prod"},
		{"", []Option{WithDefaultEnvironment("dev")}, "dev"},
		{"environment: ${UNSET}", []Option{WithEnvironment("dev")}, "dev"},
	} {
		p, err := Parse("f", []byte("version: 1\n"+c.line+"\n"+oneRule), env(""), c.opts...)
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		if p.Environment != c.want {
			t.Errorf("%q: got %q, want %q", c.line, p.Environment, c.want)
		}
	}
}

func TestEnvironmentOfAnApplication(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{"CW_ENV=prod NODE_ENV=test", "prod"}, {"NODE_ENV=test", "test"}, {"CW_ENV= NODE_ENV=test", "test"}, {"", "development"},
	} {
		if got := Environment(env(c.env)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.env, got, c.want)
		}
	}
}

func TestLoadNamesAMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rekey.yaml")
	_, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "-f FILE") {
		t.Errorf("got %v", err)
	}
}

// The hash changes with everything that decides how a key is treated, and with nothing else.
func TestHash(t *testing.T) {
	plain := "version: 1\nenvironment: prod\ndatabases: [0, 1]\n" +
		`rules: [{name: s, legacy: "s:{id}", target: "cw:{env}:s:{id}", strategy: mirror, colocate: false, flags: none}]`
	hash := func(from, to string) string {
		t.Helper()
		text := strings.Replace(plain, from, to, 1)
		if from != "" && text == plain {
			t.Fatalf("%q is not in the plan", from)
		}
		p, err := Parse("f", []byte(text), env(""))
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash(0)
	}
	want := hash("", "")
	seen := []string{want}
	for _, c := range [][2]string{
		{"environment: prod", "environment: dev"}, {"[0, 1]", "[0]"}, {`"s:{id}"`, `"t:{id}"`}, {"cw:{env}", "cx:{env}"}, {"mirror", "move"},
		{"colocate: false", "colocate: true"},
	} {
		got := hash(c[0], c[1])
		if slices.Contains(seen, got) {
			t.Errorf("%q for %q leaves the hash as it was, or makes it another's", c[1], c[0])
		}
		seen = append(seen, got)
	}
	for _, c := range [][2]string{{"[0, 1]", "[1, 0]"}, {"name: s", "name: t"}, {"flags: none", "flags: cache"}, {"version: 1", "version: 1\nsoak: 1s"}} {
		if got := hash(c[0], c[1]); got != want {
			t.Errorf("%q for %q changes the hash", c[1], c[0])
		}
	}
	// Instances of different releases compare it.
	if pinned := "47e76c4c91d77400baa22c2ac83b01e0"; want != pinned {
		t.Errorf("the hash's definition has changed: got %s, want %s", want, pinned)
	}
}

func TestIndex(t *testing.T) {
	p, err := Parse("f", []byte("version: 1\nenvironment: prod\n"+oneRule), env(""))
	if err != nil {
		t.Fatal(err)
	}
	if i, ok := p.Index("s"); i != 0 || !ok {
		t.Errorf("got %d, %v", i, ok)
	}
	if _, ok := p.Index("t"); ok {
		t.Error("found a rule that is not there")
	}
}

// A catch-all must not move its own controller's keys, nor those of another environment in the same database.
func TestCatchAllLeavesControlNames(t *testing.T) {
	for _, c := range []struct{ control, own, other string }{
		{"rekey:{env}:", "rekey:prod:fleet", "rekey:dev:fleet"},
		{"cw:{env}:rekey:", "cw:prod:rekey:fleet", "cw:dev:rekey:fleet"},
		{"x:rekey:{env}:", "x:rekey:prod:fleet", "x:rekey:dev:fleet"},
	} {
		text := "version: 1\nenvironment: prod\ncontrol_prefix: \"" + c.control + "\"\n" +
			`rules: [{name: all, legacy: "{key...}", target: "cw:{env}:{key...}"}]`
		p, err := Parse("f", []byte(text), env(""))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{c.own, c.other, "cw:prod:" + c.own, "cw:prod:" + c.other} {
			if rule, _ := p.Names().Find([]byte(name)); rule >= 0 {
				t.Errorf("control_prefix %q: %q belongs to a rule", c.control, name)
			}
		}
		if rule, target := p.Names().Find([]byte("anything")); rule != 0 || target {
			t.Errorf("control_prefix %q: the catch-all does not catch", c.control)
		}
	}
}

// The control keys of other environments are told by what is written in control_prefix, not by where the environment's name is in
// the prefix that is filled in.
func TestControlKeysOfAnyEnvironment(t *testing.T) {
	for _, c := range []struct{ control, name, env string }{
		{"rekey:{env}:", "rekey:dev:conns:a:b", "dev"},
		{"production:{env}:", "production:dev:conns:a", "dev"},
		{"production:{env}:", "devuction:prod:conns:a", ""},
		{"rekey:{env}-x:", "rekey:dev-x:conns:a", "dev"},
		{"{{a}}:{env}:{env}:", "{a}:dev:dev:conns:a", "dev"},
		{"{{a}}:{env}:{env}:", "{a}:dev:prod:conns:a", ""},
	} {
		text := "version: 1\nenvironment: prod\ncontrol_prefix: \"" + c.control + "\"\n" + `rules: [{name: a, legacy: "a:{id}", target: "cw:{env}:a:{id}"}]`
		p, err := Parse("f", []byte(text), env(""))
		if err != nil {
			t.Fatal(err)
		}
		open, ok := p.AnyControl("conns:{name...}")
		if !ok {
			t.Fatalf("control_prefix %q: no template", c.control)
		}
		if got, ok := open.EnvironmentOf([]byte(c.name)); string(got) != c.env || ok != (c.env != "") {
			t.Errorf("control_prefix %q: %q is of %q, want %q", c.control, c.name, got, c.env)
		}
	}
	p, err := Parse("f", []byte("version: 1\nenvironment: prod\ncontrol_prefix: \"prod:\"\n"+`rules: [{name: a, legacy: "a:{id}", target: "cw:{env}:a:{id}"}]`), env(""))
	if err != nil {
		t.Fatal(err)
	}
	if open, ok := p.AnyControl("fleet"); ok {
		t.Errorf("a prefix without {env} tells environments apart: %v", open)
	}
}
