package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Every refusal: its line, and the words that it must have. Each is the whole sentence that an operator reads.
func TestRefusals(t *testing.T) {
	const head = "version: 1\nenvironment: prod\n"
	rules := func(lines ...string) string { return head + "rules:\n  - " + strings.Join(lines, "\n  - ") + "\n" }
	for _, c := range []struct {
		name, text string
		want       string
	}{
		{"empty", "", `rekey: f.yaml: 0 documents in the file; write one plan: version, environment, server, rules`},
		{"two documents", head + oneRule + "---\nversion: 1\n", `rekey: f.yaml: 2 documents in the file; write one plan: version, environment, server, rules`},
		{"no mapping", "- a\n", `rekey: f.yaml:1: the plan is no mapping; write key: value with the keys audit, control_prefix, databases, environment, fleet, rules, server, soak, version`},
		{"no YAML", "version: 1\nserver: {url: \"x\n", `rekey: f.yaml:2: the file is no YAML: could not find end character of double-quoted text; check its indentation and quotes`},
		{"no version", "environment: prod\n" + oneRule, `rekey: f.yaml: no version; write version: 1 in the first line`},
		{"version", "version: 2\n", `rekey: f.yaml:1: version "2" is not known; write version: 1, or use a newer rekey`},
		{"unknown key", head + "enviroment: prod\n", `rekey: f.yaml:3: the plan has no key "enviroment"; the keys of the plan are audit, control_prefix, databases, environment, fleet, rules, server, soak, version`},
		{"unknown key of a rule", rules(`{name: s, from: x}`), `rekey: f.yaml:4: a rule has no key "from"; the keys of a rule are colocate, flags, legacy, name, strategy, target`},
		{"unknown key of server", head + "server:\n  url: redis://h\n  cluster: true\n", `rekey: f.yaml:5: server has no key "cluster"; a cluster is not supported yet`},
		{"key twice", head + "soak: 1s\nsoak: 2s\n", `rekey: f.yaml:4: "soak" is written twice, first in line 3; remove one of them`},
		{"no value", head + "soak:\n", `rekey: f.yaml:3: a key without a value; write a value, "" for an empty one, or leave the key out`},
		{"a list for a value", head + "soak: [1s]\n", `rekey: f.yaml:3: a sequence where one value belongs; write a plain or quoted value`},
		{"an anchor", head + "soak: &x 1s\n", `rekey: f.yaml:3: a anchor where one value belongs; write a plain or quoted value`},
		{"a value for a list", head + "rules: none\n", `rekey: f.yaml:3: rules is no list; write rules: [...], or a line with - for each`},
		{"variable unset", head + "soak: ${SOAK}\n", `rekey: f.yaml:3: ${SOAK} is not set; set SOAK in the environment, or write the value in the plan`},
		{"variable unset in environment", "version: 1\nenvironment: ${CW_ENV}\n" + oneRule, `rekey: f.yaml:2: ${CW_ENV} is not set; set CW_ENV in the environment, or write the value in the plan`},
		{"no variable", head + "soak: ${1}\n", `rekey: f.yaml:3: ${1} is no variable; write ${NAME} with a name of letters, digits and _, or $${ for a literal ${`},
		{"variable open", head + "soak: ${SOAK\n", `rekey: f.yaml:3: ${ has no }; write ${NAME}, or $${ for a literal ${`},
		{"no environment", "version: 1\n" + oneRule, `rekey: f.yaml: no environment; write environment: in the plan, or give --env; an application passes plan.WithDefaultEnvironment`},
		{"environment", "version: 1\nenvironment: a:b\n" + oneRule, `rekey: f.yaml:2: environment "a:b" is not of [A-Za-z0-9_-]+; use letters, digits, _ and - in its name`},
		{"databases", head + "databases: [0, x]\n", `rekey: f.yaml:3: "x" is no database; write their numbers: databases: [0]`},
		{"negative database", head + "databases: [-1]\n", `rekey: f.yaml:3: "-1" is no database; write their numbers: databases: [0]`},
		{"database twice", head + "databases: [3, 3]\n", `rekey: f.yaml:3: database 3 is written twice; remove one of them`},
		{"no database", head + "databases: []\n" + oneRule, `rekey: f.yaml:3: no database; write databases: [0], or leave it out`},
		{"database of the URL", head + "server: {url: \"redis://h/3\"}\n" + oneRule, `rekey: f.yaml:3: the server's URL names database 3, and the rules do not hold there; write databases: [3], or take the database out of the URL`},
		{"scheme", head + "server: {url: \"http://h\"}\n", `rekey: f.yaml:3: the server's URL begins with none of redis://, rediss:// and unix://`},
		{"host", head + "server: {url: \"redis://\"}\n", `rekey: f.yaml:3: the server's URL names no host; write redis://127.0.0.1:6379`},
		{"port", head + "server: {url: \"redis://h:99999\"}\n", `rekey: f.yaml:3: the port in the server's URL is none; write redis://host:6379`},
		{"unreadable URL", head + "server: {url: \"redis://u:p%zz@h\"}\n", `rekey: f.yaml:3: the server's URL cannot be read; write redis://host:6379 with user:password@ before the host, and %2F for a / and %40 for an @ in the password`},
		{"socket", head + "server: {url: \"unix://\"}\n", `rekey: f.yaml:3: the server's URL names no socket; write unix:///run/redis/redis.sock`},
		{"cluster by scheme", head + "server: {url: \"redis+cluster://h\"}\n", `rekey: f.yaml:3: a cluster is not supported yet; name a single server or a Sentinel group`},
		{"cluster by hosts", head + "server: {url: \"redis://u:p@a:1,b:2\"}\n", `rekey: f.yaml:3: a cluster is not supported yet; name a single server or a Sentinel group`},
		{"cluster by parameter", head + "server: {url: \"redis://a:1?addr=b:2\"}\n", `rekey: f.yaml:3: a cluster is not supported yet; name a single server or a Sentinel group`},
		{"evicts", head + "server: {evicts: maybe}\n", `rekey: f.yaml:3: "maybe" is neither true nor false; write true or false`},
		{"sentinel", head + "server: {url: \"redis://m\", sentinel: [a]}\n" + oneRule, `rekey: f.yaml:3: sentinel 1 of 1 is no address; write host:port, such as 127.0.0.1:26379`},
		{"empty entry", head + "audit: {allow: [\"\"]}\n", `rekey: f.yaml:3: an empty entry in a list; remove it`},
		{"half a certificate", head + "server: {tls: {cert: x}}\n" + oneRule, `rekey: f.yaml:3: tls has only one of cert and key; write both, or neither`},
		{"tls in the clear", head + "server: {url: \"redis://h\", tls: {ca: x}}\n" + oneRule, `rekey: f.yaml:3: tls is set and the server's URL is not encrypted; write rediss:// in the URL, or remove tls`},
		{"duration", head + "soak: 10\n", `rekey: f.yaml:3: "10" is no duration; write a number with its unit: 500ms, 15s, 10m`},
		{"soak", head + "soak: -1s\n" + oneRule, `rekey: f.yaml: soak -1s is negative; write 0s for no soak`},
		{"lease", head + "fleet: {lease: 0s}\n" + oneRule, `rekey: f.yaml:3: lease, renew and margin must be more than nothing; leave fleet out for 15s, 5s and 3s`},
		{"renew", head + "fleet: {renew: 12s}\n" + oneRule, `rekey: f.yaml:3: a lease of 15s that is renewed every 12s is not renewed in time to stop 3s before its end; keep renew less than lease minus margin; 15s, 5s and 3s are the defaults`},
		{"no rules", head, `rekey: f.yaml: no rules; write at least one: rules: [{name: sessions, legacy: "session:{id}", target: "cw:{env}:session:{id}"}]`},
		{"rule without a name", rules(`{legacy: "s:{id}", target: "t:{id}"}`), `rekey: f.yaml:4: "" is no name for a rule; give every rule a name of [a-z0-9_-]+`},
		{"rule with a bad name", rules(`{name: Sessions, legacy: "s:{id}", target: "t:{id}"}`), `rekey: f.yaml:4: "Sessions" is no name for a rule; give every rule a name of [a-z0-9_-]+`},
		{"name twice", rules(`{name: s, legacy: "s:{id}", target: "cw:s:{id}"}`, `{name: s, legacy: "t:{id}", target: "cw:t:{id}"}`), `rekey: f.yaml:5: rule "s": the name is taken by the rule in line 4; give one of them another name`},
		{"no target", rules(`{name: s, legacy: "s:{id}"}`), `rekey: f.yaml:4: rule "s": no target template; write both, such as legacy: "session:{id}" and target: "cw:{env}:session:{id}"`},
		{"strategy", rules(`{name: s, legacy: "s:{id}", target: "t:{id}", strategy: relocate}`), `rekey: f.yaml:4: rule "s": strategy "relocate" is not known; write mirror or move`},
		{"flags", rules(`{name: s, legacy: "s:{id}", target: "t:{id}", flags: all}`), `rekey: f.yaml:4: rule "s": flags "all" are not known; write cache, rl or none`},
		{"flags of the other strategy", rules(`{name: s, legacy: "s:{id}", target: "t:{id}", flags: rl}`), `rekey: f.yaml:4: rule "s": flags: rl choose phases of strategy move, and the rule's is mirror; write strategy: move, or flags: none`},
		{"template", rules("name: s\n    legacy: \"s:{id\"\n    target: \"t:{id}\""), `rekey: f.yaml:5: rule "s": legacy "s:{id", byte 2: a { without its }; write {{ for a literal brace`},
		{"ambiguous", rules("name: s\n    legacy: \"s:{a}-{b}\"\n    target: \"t:{a}:{b}\""), `rekey: f.yaml:5: rule "s": legacy "s:{a}-{b}", byte 5: {a} and {b} need a literal with a ':' between them, or a name could be read in two ways`},
		{"variable missing", rules(`{name: s, legacy: "s:{a}:{b}", target: "t:{a}"}`), `rekey: f.yaml:4: rule "s": {b} is in the legacy template and not in the target, for example key "s:x:x"; write every variable on both sides, or two legacy keys share one target`},
		{"colocate", rules(`{name: s, legacy: "s:{a}", target: "t:{a}", colocate: true}`), `rekey: f.yaml:4: rule "s": colocate wraps the whole legacy name, and the target "t:{a}" is not a literal followed by the legacy template "s:{a}", for example key "s:x"; write the target as cw:{env}:s:{a}, or set colocate: false`},
		{"legacy overlap", rules(`{name: a, legacy: "{k...}", target: "cw:{env}:{k...}"}`, `{name: b, legacy: "s:{id}", target: "x:{id}"}`), `rekey: f.yaml:5: rules "a" and "b": (lines 4 and 5) one key matches both legacy templates, for example key "s:x"; narrow one of the legacy templates, so that every key has one rule`},
		{"target overlap", rules(`{name: a, legacy: "s:{id}", target: "cw:{id}"}`, `{name: b, legacy: "t:{id}", target: "cw:{id}"}`), `rekey: f.yaml:5: rules "a" and "b": (lines 4 and 5) one key matches both targets, for example key "cw:x"; give the targets different literals, so that two keys never share one name`},
		{"target is legacy", rules(`{name: a, legacy: "t:{id}", target: "u:{id}"}`, `{name: b, legacy: "s:{id}", target: "t:{id}"}`), `rekey: f.yaml:5: rules "b" and "a": (lines 5 and 4) a target name of the first is a legacy name of the second, for example key "t:x"; choose a target that the other rule's legacy template does not match, or narrow that template`},
		{"under control", rules(`{name: a, legacy: "s:{id}", target: "rekey:{env}:{id}"}`), `rekey: f.yaml:4: rule "a": its names are control keys, which no rule may touch, for example key "rekey:prod:x"; choose another control_prefix, or another template`},
		{"control variable", head + "control_prefix: \"x:{y}:\"\n" + oneRule, `rekey: f.yaml:3: control_prefix has the variable {y}; write no variable but {env}`},
		{"control environment", head + "control_prefix: \"rekey-{env}\"\n" + oneRule, `rekey: f.yaml:3: control_prefix "rekey-{env}" does not say where the environment ends; write a ':' behind {env}, such as "rekey:{env}:"`},
		{"no control", head + "control_prefix: \"\"\n" + oneRule, `rekey: f.yaml:3: control_prefix "", byte 0: a template cannot be empty`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse("f.yaml", []byte(c.text), env(""))
			var refused *Error
			if p != nil || !errors.As(err, &refused) {
				t.Fatalf("got %v, %v, want an Error", p, err)
			}
			if got := err.Error(); got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

const secret = "hunter2"

// No error and no printed form holds the password, wherever in the file something is wrong.
func TestPasswordsAreNotPrinted(t *testing.T) {
	const good = "version: 1\nenvironment: prod\nserver:\n  url: \"redis://app:" + secret + "@h:6379/0\"\n  evicts: false\n" + oneRule
	p, err := Parse("f", []byte(good), env(""))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(p.Server.URL), secret) {
		t.Error("the password is lost")
	}
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("plan", "plan", p, "server", p.Server, "url", p.Server.URL)
	}
	asJSON, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{
		p.String(), fmt.Sprintf("%v %+v %#v %s %q %x", p, p, p, p, p.Server.URL, p.Server.URL),
		fmt.Sprintf("%v %+v %#v", *p, *p, *p), fmt.Sprintf("%v %+v %#v", p.Server, p.Server, p.Server), log.String(), string(asJSON),
	}
	for _, bad := range []string{
		strings.Replace(good, "6379/0", "6379/x", 1), strings.Replace(good, "6379/0", "99999999/", 1), strings.Replace(good, "6379/0", "6379/7", 1),
		strings.Replace(good, "redis://", "http://", 1), strings.Replace(good, "redis://", "redis:// ", 1), strings.Replace(good, "\"\n", "\n", 1),
		strings.Replace(good, "h:6379", "a:1,b:2", 1), strings.Replace(good, "evicts: false", "evicts", 1), strings.Replace(good, "  evicts", " evicts", 1),
		strings.Replace(good, "url: \"redis", "tls: \"redis", 1), strings.Replace(good, "url: \"redis", "evicts: \"redis", 1),
		strings.Replace(good, "url: \"redis", "sentinel: [\"redis", 1), strings.Replace(good, "url: ", "url:\n    - ", 1),
		strings.Replace(good, "url: \"redis:", "\"redis:", 1), strings.Replace(good, "environment: prod", "environment: redis://a:"+secret+"@h", 1),
		strings.Replace(good, "url: \"", "url: \"%zz", 1), strings.Replace(good, "redis://app:", "redis://app:a/b?#", 1),
	} {
		_, err := Parse("f", []byte(bad), env(""))
		if err == nil {
			t.Errorf("%q was accepted", bad)
			continue
		}
		printed = append(printed, err.Error(), fmt.Sprintf("%v", errors.Unwrap(err)))
	}
	for _, text := range printed {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("the password is printed: %s", text)
		}
	}
}

func TestURLString(t *testing.T) {
	for _, c := range []struct {
		url  URL
		want string
	}{
		{"", ""},
		{"redis://127.0.0.1:6379", "redis://127.0.0.1:6379"},
		{"redis://app:pw@h:1/2?read_timeout=3s", "redis://app:xxxxx@h:1/2"},
		{"redis://:pw@h:1", "redis://:xxxxx@h:1"},
		{"redis://pw@h:1", "redis://xxxxx@h:1"},
		{"redis://a:p%zz@h", "(unreadable URL)"},
		{"unix:///run/redis.sock?db=1", "unix:///run/redis.sock"},
	} {
		if got := c.url.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestURLDatabase(t *testing.T) {
	for _, c := range []struct {
		url URL
		db  int
		ok  bool
	}{{"redis://h", 0, false}, {"redis://h/", 0, false}, {"redis://h/4", 4, true}, {"redis://h?db=5", 5, true}, {"unix:///s?db=6", 6, true}, {"unix:///s", 0, false}} {
		db, ok := c.url.Database()
		if ok != c.ok || ok && db != c.db {
			t.Errorf("%v: got %d, %v, want %d, %v", c.url, db, ok, c.db, c.ok)
		}
	}
}
