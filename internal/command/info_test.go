package command

import (
	"errors"
	"strings"
	"testing"
)

// element makes an element of COMMAND INFO as it looks before the categories.
func element(name string, arity int64, flags string, first, last, step int64, rest ...Value) Value {
	v := Value{List: []Value{text(name), {Int: arity}, list(flags), {Int: first}, {Int: last}, {Int: step}}}
	v.List = append(v.List, rest...)
	return v
}

func text(s string) Value { return Value{Text: s} }

func list(words string) Value {
	var v Value
	for _, w := range strings.Fields(words) {
		v.List = append(v.List, text(w))
	}
	return v
}

// specs is the part of an element from the categories on.
func specs(list ...Value) []Value { return []Value{{}, {}, {List: list}, {}} }

func spec(flags, beginType string, begin []Value, findType string, find []Value) Value {
	return Value{List: []Value{
		text("flags"), list(flags),
		text("begin_search"), {List: []Value{text("type"), text(beginType), text("spec"), {List: begin}}},
		text("find_keys"), {List: []Value{text("type"), text(findType), text("spec"), {List: find}}},
	}}
}

func number(name string, n int64) []Value { return []Value{text(name), {Int: n}} }

// TestLearned: what becomes of commands that no family names.
func TestLearned(t *testing.T) {
	oneKey := []Value{text("lastkey"), {}, text("keystep"), {Int: 1}, text("limit"), {}}
	for _, tt := range []struct {
		about string
		info  Value
		call  string
		keys  string
		class Class
	}{
		{"a module's write, told by first, last and step", element("JSON.SET", -4, "write denyoom module", 1, 1, 1), "json.set k $ 1", "1rw", ClassRecopy},
		{"a module's read", element("json.get", -2, "readonly module", 1, 1, 1), "json.get k $", "1r", ClassRead},
		{"keys but for the last argument", element("json.mget", -3, "readonly module", 1, -2, 1), "json.mget a b $", "1r 2r", ClassRead},
		{"pairs", element("m.set", -3, "write module", 1, -1, 2), "m.set a 1 b 2", "1rw 3rw", ClassRecopy},
		{"two keys from the third argument on", element("m.two", -4, "write module", 2, 3, 1), "m.two x a b c", "2rw 3rw", ClassRecopy},
		{"a read of keys that it does not name", element("ft.search", -3, "readonly module", 0, 0, 0), "ft.search i q", "", ClassRefuse},
		{"a write of keys that it does not name", element("ft.create", -3, "write module", 0, 0, 0), "ft.create i x", "", ClassRefuse},
		{"no keys", element("m.ping", 1, "fast module", 0, 0, 0), "m.ping", "", ClassNone},
		{"movable keys without a description", element("m.move", -2, "write movablekeys module", 0, 0, 0), "m.move 1 k", "only the server can tell the keys", ClassRecopy},
		{"movable keys of a read", element("m.look", -2, "readonly movablekeys module", 0, 0, 0), "m.look 1 k", "only the server can tell the keys", ClassRead},
		{"neither read nor write, with a key", element("m.eval", -2, "", 1, 1, 1), "m.eval k", "1rw", ClassRecopy},
		{"a write that blocks", element("m.bpop", -3, "write blocking module", 1, 1, 1), "m.bpop k 0", "1rw", ClassRefuse},
		{"a specification", element("new", -3, "readonly", 1, 1, 1, specs(
			spec("RO access", "index", number("index", 2), "range", oneKey))...), "new x k", "2r", ClassRead},
		{"a keyword at the end", element("new", -3, "write", 0, 0, 0, specs(
			spec("OW update", "keyword", append(list("keyword into").List, number("startfrom", -2)...), "range", oneKey))...), "new INTO into k", "3w", ClassRecopy},
		{"a count of keys", element("new", -3, "readonly movablekeys", 0, 0, 0, specs(
			spec("RO", "index", number("index", 1), "keynum", append(append(number("keynumidx", 0), number("firstkey", 1)...), number("keystep", 1)...)))...), "new 2 a b c", "2r 3r", ClassRead},
		{"half of the rest", element("new", -4, "readonly movablekeys", 0, 0, 0, specs(
			spec("RO", "keyword", append(list("keyword of").List, number("startfrom", 1)...), "range",
				append(append(number("lastkey", -1), number("keystep", 1)...), number("limit", 2)...)))...), "new x OF a b 0 0", "3r 4r", ClassRead},
		{"a shard channel", element("new", 2, "fast", 1, 1, 1, specs(
			spec("not_key", "index", number("index", 1), "range", oneKey))...), "new c", "", ClassNone},
		{"an incomplete specification", element("new", -2, "write movablekeys", 1, 1, 1, specs(
			spec("RW incomplete", "index", number("index", 1), "range", oneKey))...), "new k", "only the server can tell the keys", ClassRecopy},
		{"a search of a later server", element("new", -2, "write", 0, 0, 0, specs(
			spec("RW", "telepathy", nil, "range", oneKey))...), "new k", "only the server can tell the keys", ClassRecopy},
		{"a read whose keys are written", element("new", -2, "readonly", 1, 1, 1, specs(
			spec("RW", "index", number("index", 1), "range", oneKey))...), "new k", "1rw", ClassRecopy},
		{"a container with an unknown subcommand", element("new", -2, "", 0, 0, 0, Value{}, Value{}, Value{}, Value{List: []Value{
			element("new|sub", 3, "write", 2, 2, 1)}}), "new other k", "", ClassRefuse},
		{"a known subcommand", element("new", -2, "", 0, 0, 0, Value{}, Value{}, Value{}, Value{List: []Value{
			element("new|sub", 3, "write", 0, 0, 0, specs(spec("RW", "index", number("index", 2), "range", oneKey))...)}}), "NEW SUB k", "2rw", ClassRecopy},
		{"the wrong number of arguments", element("m.set", 3, "write module", 1, 1, 1), "m.set a", "error", ClassRecopy},
	} {
		c, err := FromInfo(tt.info)
		if err != nil {
			t.Errorf("%s: %v", tt.about, err)
			continue
		}
		args := words(tt.call)
		c = c.Resolve(args)
		if got := keysText(c, args); got != tt.keys {
			t.Errorf("%s: keys of %s are %q, want %q", tt.about, tt.call, got, tt.keys)
		}
		u := c.Use(args)
		if u.Class != tt.class {
			t.Errorf("%s: class of %s is %v, want %v", tt.about, tt.call, u.Class, tt.class)
		}
		if (u.Reason != "") != (u.Class == ClassRefuse) {
			t.Errorf("%s: class %v with reason %q", tt.about, u.Class, u.Reason)
		}
	}
}

func TestNeedsGetKeys(t *testing.T) {
	c, err := FromInfo(element("m.move", -2, "write movablekeys module", 0, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keys(nil, words("m.move 1 k")); !c.NeedsGetKeys() || !errors.Is(err, ErrAskServer) {
		t.Errorf("NeedsGetKeys() = %v and Keys gives %v, want true and ErrAskServer", c.NeedsGetKeys(), err)
	}
	for _, c := range All() {
		if c.NeedsGetKeys() {
			t.Errorf("%s of the table needs COMMAND GETKEYS: give it a finder", c.Name)
		}
	}
}

// TestFromInfoRefuses: a reply that is not understood is no command.
func TestFromInfoRefuses(t *testing.T) {
	for about, info := range map[string]Value{
		"a null":                  {},
		"too few fields":          {List: []Value{text("get"), {Int: 2}}},
		"no name":                 element("", 2, "write", 1, 1, 1),
		"keys in front of a name": element("new", 2, "write", 1, 1, 1, specs(spec("RW", "index", number("index", 0), "range", nil))...),
		"a keyword without a word": element("new", 2, "write", 1, 1, 1, specs(
			spec("RW", "keyword", number("startfrom", 1), "range", nil))...),
		"a negative place": element("new", 2, "write", 1, 1, 1, specs(
			spec("RW", "index", number("index", 1), "keynum", number("keynumidx", -3)))...),
	} {
		if c, err := FromInfo(info); err == nil {
			t.Errorf("%s: FromInfo gives %+v, want an error", about, c)
		}
	}
}

func TestParseInt(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"7", 7, true}, {"-7", -7, true}, {"999999999999999999", 999999999999999999, true},
		{"", 0, false}, {"-", 0, false}, {"-0", 0, false}, {"00", 0, false}, {"07", 0, false}, {"+7", 0, false},
		{" 7", 0, false}, {"7 ", 0, false}, {"7.0", 0, false}, {"0x7", 0, false}, {"1000000000000000000", 0, false},
	} {
		if got, ok := parseInt([]byte(tt.text)); got != tt.want || ok != tt.ok {
			t.Errorf("parseInt(%q) = %d, %v, want %d, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{(Write | MovableKeys).String(), "write movablekeys"},
		{(RO | Accesses).String(), "RO access"},
		{(AccessRead | AccessWrite).String(), "rw"},
		{Access(9).String(), "Access(9)"},
		{ClassSession.String(), "session"},
		{Class(99).String(), "Class(99)"},
		{NamesStreams.String(), "streams"},
		{Names(9).String(), "Names(9)"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
