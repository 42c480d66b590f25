package sweep

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
)

const (
	// shortBytes is what a string may have to be compared by the shortest look. Longer ones are measured first: nobody knows
	// how long a value is before it is asked for, so no command asks for whole values.
	shortBytes = 4 << 10
	// longWay is how many pages take the long way after one in which few keys were short strings.
	longWay = 20
)

// settleShort is the look before the first one: two short strings that are equal, and expire at one time, need no DUMP and no
// MEMORY USAGE, which take the server three times as long. Its end gives the keys that it could not settle to then. As with the
// first look the two names are not read at one moment, and what is equal is equal.
//
// Expiry times are half of the work, and some databases have none. So a page is asked first how many keys of the database
// have one; while that is none, only the values are asked for.
func (j *verify) settleShort(ctx context.Context, l *link, keys []key, then func(rest []key) error) (end func() error, err error) {
	if j.expect.double || len(keys) == 0 { // what has two names is wrong, whatever it is
		return func() error { return then(keys) }, nil
	}
	if j.long > 0 {
		j.long--
		return func() error { return then(keys) }, nil
	}
	s := &shortLook{verify: j, link: l, keys: keys, timed: !j.timeless}
	answered, err := ask(ctx, l, s.commands(), s.take)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := answered(); err != nil {
			return err
		}
		j.timeless = s.none
		if !s.timed && !s.none {
			s.rest = keys // one of them may have an expiry time by now
		} else if len(s.rest) > len(keys)*3/4 {
			j.long = longWay
		}
		return then(s.rest)
	}, nil
}

// shortLook is such a look at one page.
type shortLook struct {
	*verify
	link  *link
	keys  []key
	timed bool // expiry times are asked for
	none  bool // no key of the database has one
	rest  []key

	// Of the key whose answers are read:
	text    []byte // its legacy name's
	expiry  int64  // its legacy name's
	settled bool   // as far as its answers were read
}

// commands: how many keys of the database have an expiry time; then for each key the values of both names and, if they are
// asked for, the expiry times of both.
func (s *shortLook) commands() []command {
	last := strconv.Itoa(shortBytes - 1)
	out := make([]command, 0, 1+4*len(s.keys))
	out = append(out, command{"INFO", "keyspace"})
	for _, k := range s.keys {
		out = append(out, command{"GETRANGE", k.legacy, "0", last}, command{"GETRANGE", k.target, "0", last})
		if s.timed {
			out = append(out, command{s.traits.expiry, k.legacy}, command{s.traits.expiry, k.target})
		}
	}
	return out
}

// take reads the answer to one of them.
func (s *shortLook) take(i int, a answer) error {
	if i == 0 {
		s.none = timeless(string(a.text), s.link.database) // not where the server does not say, or not to this user
		return nil
	}
	each := 2
	if s.timed {
		each = 4
	}
	of, n := (i-1)/each, (i-1)%each
	switch n {
	case 0, 1:
		if code(a.err) == "WRONGTYPE" {
			s.settled = false
			break
		}
		if err := serverError("GETRANGE", a.err); err != nil {
			return err
		}
		if n == 0 {
			s.text, s.settled = append(s.text[:0], a.text...), len(a.text) < shortBytes
		} else {
			s.settled = s.settled && bytes.Equal(a.text, s.text)
		}
		if !s.timed && len(a.text) == 0 {
			s.settled = false // nothing says whether it is there
		}
	default:
		if err := serverError(s.traits.expiry, a.err); err != nil {
			return err
		}
		if n == 2 {
			s.expiry = a.n
		} else {
			s.settled = s.settled && s.expiry != gone && a.n != gone && s.sameExpiry(s.expiry, a.n)
		}
	}
	if n == each-1 && !s.settled {
		s.rest = append(s.rest, s.keys[of])
	}
	return nil
}

// timeless reports whether INFO says that no key of a database has an expiry time.
func timeless(info string, database int) bool {
	for line := range strings.Lines(info) {
		if fields, ok := strings.CutPrefix(strings.TrimSpace(line), "db"+strconv.Itoa(database)+":"); ok {
			return slices.Contains(strings.Split(fields, ","), "expires=0")
		}
	}
	return false
}
