package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
)

// renameError puts the application's name of a key in the place of the physical one
// in an error that quotes it ("NOGROUP No such key 'cw:prod:...'").
func (e *entry) renameError(reply []byte) []byte {
	if len(e.renames) == 0 {
		return reply
	}
	if _, words, ok := bytes.Cut(reply, []byte("with args beginning with: ")); ok && reply[0] == '-' {
		return e.renameQuoted(reply[:len(reply)-len(words)], words)
	}
	for _, r := range e.renames {
		if bytes.Contains(reply, r.physical) && !bytes.Equal(r.physical, r.asked) {
			reply = bytes.ReplaceAll(bytes.Clone(reply), quoted(r.physical), quoted(r.asked))
		}
	}
	return reply
}

func quoted(name []byte) []byte { return append(append([]byte{'\''}, name...), '\'') }

// The server quotes words of a command that it does not know until they have 128 bytes with their quotes, and cuts the
// last one short: no word behind so many is there. Names of more than a kilobyte are not kept for this.
const (
	maxQuoted     = 128
	maxQuotedArgs = maxQuoted / 3
	maxQuotable   = 1 << 10
)

// renameQuoted renames the words of a command that the server does not know, which stand behind head.
func (e *entry) renameQuoted(head, words []byte) []byte {
	out := bytes.Clone(head)
	for rest := words; len(rest) > 0; {
		quote, from := rest[0], 1
		left, room := maxQuoted-(len(words)-len(rest)), maxQuoted-(len(out)-len(head))
		for _, r := range e.renames {
			word := r.physical[:min(len(r.physical), max(left, 0))]
			if end := len(word) + 1; len(word) > 0 && len(rest) > end && rest[end] == quote && bytes.HasPrefix(rest[1:], word) {
				out = append(append(out, quote), r.asked[:min(len(r.asked), max(room, 0))]...)
				rest, from = rest[end:], 0
				break
			}
		}
		next := bytes.Index(rest[from:], []byte{' ', quote})
		if next < 0 {
			return append(out, rest...)
		}
		next += from + 1
		out, rest = append(out, rest[:next]...), rest[next:]
	}
	return out
}

// asked is the application's name of a key in a reply.
func (e *entry) askedFor(name []byte) []byte {
	for _, r := range e.renames {
		if bytes.Equal(r.physical, name) {
			return r.asked
		}
	}
	return name
}

// renameReply maps the names in a whole reply.
func (s *Session) renameReply(e *entry, reply []byte) []byte {
	var out []byte
	switch e.names {
	case namesFirst, namesStreams:
		out = e.renameElements(reply)
	case namesScan:
		out = s.scanReply(e, reply)
	case namesKeys:
		out = s.keysReply(e, reply)
	case namesOne:
		out = s.randomReply(e, reply)
	}
	if out == nil {
		return reply
	}
	return out
}

// renameElements maps the names at the first level of an aggregate: the first element
// (BLPOP, LMPOP), or each key of a map, or the first of each pair (XREAD).
func (e *entry) renameElements(reply []byte) []byte {
	h, at, err := resp.ReadHeader(reply)
	if err != nil || at == 0 || h.N < 1 {
		return nil
	}
	out := append([]byte(nil), reply[:at]...)
	for i := range h.N {
		if e.names == namesFirst && i > 0 {
			break
		}
		if e.names == namesStreams && h.Type == '*' { // a pair: its header first
			_, n, err := resp.ReadHeader(reply[at:])
			if err != nil || n == 0 {
				return nil
			}
			out = append(out, reply[at:at+n]...)
			at += n
		}
		name, n := bulk(reply[at:])
		if n == 0 {
			return nil
		}
		out = resp.AppendBulk(out, e.askedFor(name))
		at += n
		if e.names == namesFirst {
			break
		}
		n = valueLen(reply[at:])
		out = append(out, reply[at:at+n]...)
		at += n
	}
	return append(out, reply[at:]...)
}

// bulk reads a string at the start of b; n is 0 if there is none.
func bulk(b []byte) (str []byte, n int) {
	h, at, err := resp.ReadHeader(b)
	if err != nil || at == 0 || h.Type != '$' || h.N < 0 || int64(len(b)) < int64(at)+h.N+2 {
		return nil, 0
	}
	return b[at : at+int(h.N)], at + int(h.N) + 2
}

// valueLen is the length of the value at the start of b.
func valueLen(b []byte) int {
	var skip resp.Skipper
	n, _, _ := skip.Skip(b)
	return n
}

// scanReply filters a page of SCAN: what the phases show, under logical names, and of
// these what the application's pattern matches.
func (s *Session) scanReply(e *entry, reply []byte) []byte {
	_, at, err := resp.ReadHeader(reply)
	if err != nil || at == 0 {
		return nil
	}
	cursor, n := bulk(reply[at:])
	if n == 0 {
		return nil
	}
	names, count := s.logicalNames(e, reply[at+n:], false)
	out := resp.AppendArrayHeader(nil, 2)
	out = resp.AppendBulk(out, cursor)
	out = resp.AppendArrayHeader(out, count)
	return append(out, names...)
}

// keysReply filters the reply of KEYS, in which no name comes twice.
func (s *Session) keysReply(e *entry, reply []byte) []byte {
	names, count := s.logicalNames(e, reply, true)
	return append(resp.AppendArrayHeader(nil, count), names...)
}

// logicalNames gives the strings of an array as logical names, encoded, and how many
// they are.
func (s *Session) logicalNames(e *entry, array []byte, once bool) (names []byte, count int) {
	h, at, err := resp.ReadHeader(array)
	if err != nil || at == 0 {
		return nil, 0
	}
	var seen map[string]struct{}
	if once {
		seen = make(map[string]struct{}, max(h.N, 0))
	}
	var logical []byte
	for range h.N {
		name, n := bulk(array[at:])
		if n == 0 {
			break
		}
		at += n
		var shown bool
		logical, shown = rewrite.AppendLogical(logical[:0], s.rules.Set, e.table, name)
		if !shown || e.matches && !keyname.GlobMatchKey(e.pattern, logical) {
			continue
		}
		if once {
			if _, twice := seen[string(logical)]; twice {
				continue
			}
			seen[string(logical)] = struct{}{}
		}
		names = resp.AppendBulk(names, logical)
		count++
	}
	return names, count
}

// invalidated gives the client an invalidation push with names that it knows: both
// names of a logical key, because it may have asked for either.
func (s *Session) invalidated(push []byte) {
	out := resp.AppendPushHeader(nil, 2, 3)
	out = resp.AppendBulkString(out, "invalidate")
	s.emit(s.appendInvalidated(out, push, 1), false)
}

// invalidated2 is the same for a message of RESP2.
func (s *Session) invalidated2(message []byte) {
	out := append([]byte(nil), invalidation2...)
	s.emit(s.appendInvalidated(out, message, 2), false)
}

// appendInvalidated appends the names that stand behind a number of words.
func (s *Session) appendInvalidated(out, message []byte, words int) []byte {
	_, at, _ := resp.ReadHeader(message)
	for range words {
		_, n := bulk(message[at:])
		at += n
	}
	h, n, _ := resp.ReadHeader(message[at:])
	if h.Type != '*' || h.N < 0 {
		return append(out, message[at:]...) // everything
	}
	at += n
	var names []byte
	count := 0
	add := func(name []byte) {
		if s.wantsInvalidation(name) {
			names, count = resp.AppendBulk(names, name), count+1
		}
	}
	var other []byte
	for range h.N {
		name, n := bulk(message[at:])
		at += n
		add(name)
		rule, target := s.rules.Set.Find(name)
		if rule < 0 {
			continue
		}
		if target {
			other, _ = s.rules.Set.Pair(rule).AppendLegacy(other[:0], name)
		} else {
			other, _ = s.rules.Set.Pair(rule).AppendTarget(other[:0], name)
		}
		add(other)
	}
	return append(resp.AppendArrayHeader(out, count), names...)
}

// wantsInvalidation: a client that asked for prefixes is told of no other name.
func (s *Session) wantsInvalidation(name []byte) bool {
	for _, p := range s.prefixes {
		if bytes.HasPrefix(name, p) {
			return true
		}
	}
	return len(s.prefixes) == 0
}

// PhasesChanged tells the session that the table was replaced. What client-side caching
// tracked under the old phases may not be what is written under the new ones, so the
// client is told to forget everything. Where it redirects invalidations to another
// connection, that one's CLIENT ID is given: it is the one to be told.
func (s *Session) PhasesChanged() (redirect int64) {
	if s.tracking && s.redirect == 0 {
		s.Forget()
	}
	return s.redirect
}

// Forget tells the client to empty its cache.
func (s *Session) Forget() {
	s.flush = true
	if !s.value.on && !s.fold.open && len(s.part) == 0 {
		s.emptyCaches()
	}
}

// emptyCaches is what the server itself sends at FLUSHALL.
func (s *Session) emptyCaches() {
	s.flush = false
	switch {
	case s.proto == 3:
		s.emit([]byte(">2\r\n$10\r\ninvalidate\r\n_\r\n"), false)
	case s.subs.any():
		s.emit([]byte(invalidation2+"$-1\r\n"), false)
	}
}
