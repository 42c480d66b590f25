package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/command"
)

// merged is what all servers said, by name. The first one to describe a
// command is believed; the others only add that they have it.
type merged map[string]*command.Command

func (m merged) add(commands []*command.Command, from command.Servers) {
	for _, c := range commands {
		known := m[c.Name]
		if known == nil {
			m[c.Name] = c
			mark(c, from)
			continue
		}
		known.Servers |= from
		subs := make(merged)
		for _, s := range known.Subs {
			subs[s.Name] = s
		}
		subs.add(c.Subs, from)
		known.Subs = subs.sorted()
	}
}

func mark(c *command.Command, from command.Servers) {
	c.Servers = from
	for _, s := range c.Subs {
		mark(s, from)
	}
	slices.SortFunc(c.Subs, byName)
}

func (m merged) sorted() []*command.Command {
	return slices.SortedFunc(maps.Values(m), byName)
}

func byName(a, b *command.Command) int { return cmp.Compare(a.Name, b.Name) }

// description is a command in src/commands of Redis and Valkey, as far as the
// table needs it.
type description struct {
	Since     string     `json:"since"`
	Group     string     `json:"group"`
	Arity     int        `json:"arity"`
	Container string     `json:"container"`
	Flags     []string   `json:"command_flags"`
	KeySpecs  []keySpecs `json:"key_specs"`
}

type keySpecs struct {
	Flags []string `json:"flags"`
	Begin struct {
		Index   *struct{ Pos int }
		Keyword *struct {
			Keyword   string
			StartFrom int
		}
	} `json:"begin_search"`
	Find struct {
		Range *struct {
			LastKey, Step, Limit int
		}
		KeyNum *struct {
			KeyNumIdx, FirstKey, Step int
		}
	} `json:"find_keys"`
}

func readSupplement(path string) ([]*command.Command, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the supplement: %w", err)
	}
	var descriptions map[string]description
	if err := json.Unmarshal(data, &descriptions); err != nil {
		return nil, fmt.Errorf("read the supplement %s: %w", path, err)
	}
	var commands []*command.Command
	for _, name := range slices.Sorted(maps.Keys(descriptions)) {
		c, err := descriptions[name].command(strings.ToLower(name))
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		commands = append(commands, c)
	}
	return commands, nil
}

func (d description) command(name string) (*command.Command, error) {
	c := &command.Command{Name: name, Arity: d.Arity, Group: d.Group, Since: d.Since}
	for _, flag := range d.Flags {
		bit, ok := command.ParseFlag(strings.ToLower(flag))
		if !ok {
			return nil, fmt.Errorf("unknown flag %q", flag)
		}
		c.Flags |= bit
	}
	for _, k := range d.KeySpecs {
		s, err := k.spec()
		if err != nil {
			return nil, err
		}
		c.Specs = append(c.Specs, s)
		if s.KeyNum {
			c.Flags |= command.MovableKeys // servers add it the same way
		}
	}
	return c, nil
}

func (k keySpecs) spec() (command.Spec, error) {
	var s command.Spec
	for _, flag := range k.Flags {
		bit, ok := command.ParseSpecFlag(flag)
		if !ok {
			bit, ok = command.ParseSpecFlag(strings.ToLower(flag))
		}
		if !ok {
			return s, fmt.Errorf("unknown flag %q of a key specification", flag)
		}
		s.Flags |= bit
	}
	switch b := k.Begin; {
	case b.Index != nil:
		s.Index = b.Index.Pos
	case b.Keyword != nil:
		s.Keyword, s.From = b.Keyword.Keyword, b.Keyword.StartFrom
	default:
		return s, fmt.Errorf("a key specification without a begin")
	}
	switch f := k.Find; {
	case f.Range != nil:
		s.Last, s.Step, s.Limit = f.Range.LastKey, f.Range.Step, f.Range.Limit
	case f.KeyNum != nil:
		s.KeyNum, s.NumAt, s.FirstAt, s.Step = true, f.KeyNum.KeyNumIdx, f.KeyNum.FirstKey, f.KeyNum.Step
	default:
		return s, fmt.Errorf("a key specification that finds no keys")
	}
	return s, nil
}
