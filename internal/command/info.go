package command

import (
	"errors"
	"fmt"
	"strings"
)

// Value is one value of a reply, as far as COMMAND INFO needs it. A map of
// RESP3 is a list of names and values by turns, as RESP2 writes it; a set is a
// list.
type Value struct {
	Text string
	Int  int64
	List []Value
}

// FromInfo makes a Command of one element of COMMAND's or COMMAND INFO's reply:
// name, arity, flags, first, last, step and, from Redis 7.0 on, categories,
// tips, key specifications and subcommands. A learned command has no place in
// families.go: [Command.Use] judges it by its flags alone.
func FromInfo(info Value) (*Command, error) {
	f := info.List
	if len(f) < 6 {
		return nil, fmt.Errorf("command info of %d fields, want at least 6", len(f))
	}
	name := strings.ToLower(f[0].Text)
	if name == "" {
		return nil, errors.New("command info without a name")
	}
	c := &Command{Name: strings.Replace(name, "|", " ", 1), Arity: int(f[1].Int)}
	for _, flag := range f[2].List {
		bit, _ := ParseFlag(flag.Text) // an unknown flag says nothing about keys
		c.Flags |= bit
	}
	if len(f) > 8 {
		for _, spec := range f[8].List {
			s, err := specOf(spec)
			if err != nil {
				return nil, fmt.Errorf("key specification of %s: %w", name, err)
			}
			c.Specs = append(c.Specs, s)
		}
	} else if first := int(f[3].Int); first > 0 {
		c.Specs = []Spec{rangeOf(first, int(f[4].Int), int(f[5].Int))}
	}
	if c.Flags&Module != 0 && c.Flags&ReadOnly != 0 {
		// Servers describe the keys of every module command as read and written.
		for i := range c.Specs {
			c.Specs[i].Flags = c.Specs[i].Flags&^(RW|OW|RM|Updates|Inserts|Deletes) | RO
		}
	}
	if len(f) > 9 {
		for _, sub := range f[9].List {
			s, err := FromInfo(sub)
			if err != nil {
				return nil, fmt.Errorf("subcommand of %s: %w", name, err)
			}
			c.Subs = append(c.Subs, s)
		}
	}
	return c, nil
}

// rangeOf is the specification that first, last and step of an older server
// stand for. Its last counts from the start, a specification's from the first.
func rangeOf(first, last, step int) Spec {
	if last > 0 {
		last -= first
	}
	return Spec{Index: first, Last: last, Step: step}
}

func specOf(v Value) (Spec, error) {
	var s Spec
	for _, flag := range v.field("flags").List {
		bit, _ := ParseSpecFlag(flag.Text)
		s.Flags |= bit
	}
	begin, find := v.field("begin_search"), v.field("find_keys")
	at := begin.field("spec")
	switch kind := begin.field("type").Text; kind {
	case "index":
		s.Index = int(at.field("index").Int)
		if s.Index < 1 {
			return s, fmt.Errorf("begins at argument %d", s.Index)
		}
	case "keyword":
		s.Keyword = strings.ToUpper(at.field("keyword").Text)
		s.From = int(at.field("startfrom").Int)
		if s.Keyword == "" || s.From == 0 {
			return s, errors.New("begins at a keyword without the word or the place")
		}
	default: // "unknown", and what later servers may bring
		s.Flags |= Unknown
	}
	how := find.field("spec")
	switch kind := find.field("type").Text; kind {
	case "range":
		s.Last = int(how.field("lastkey").Int)
		s.Step = int(how.field("keystep").Int)
		s.Limit = int(how.field("limit").Int)
	case "keynum":
		s.KeyNum = true
		s.NumAt = int(how.field("keynumidx").Int)
		s.FirstAt = int(how.field("firstkey").Int)
		s.Step = int(how.field("keystep").Int)
		if s.NumAt < 0 || s.FirstAt < 0 {
			return s, errors.New("a number of keys in front of its begin")
		}
	default:
		s.Flags |= Unknown
	}
	return s, nil
}

// field returns the value of a name in a map.
func (v Value) field(name string) Value {
	for i := 0; i+1 < len(v.List); i += 2 {
		if v.List[i].Text == name {
			return v.List[i+1]
		}
	}
	return Value{}
}
