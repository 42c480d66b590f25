package intercept

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
)

// A blocking command cannot wait inside a transaction: there the server answers at
// once, with null where there is nothing. In phases that need a transaction it is
// therefore tried until its time is over. In the others the server itself waits, and
// CLIENT UNBLOCK ends that when the phases change, so that the command goes on under
// the new ones. Either way the connection reads no further, as on a bare server.

// blocked is the blocking command at hand.
type blocked struct {
	raw     []byte
	args    [][]byte
	command *command.Command
	use     command.Use
	end     time.Time // zero: never
	next    time.Time // of the next try; zero while one is under way
	pause   time.Duration
	native  bool   // the server waits
	version uint64 // of the table under which it does
	tried   bool   // it ran once
	empty   bool   // the try found nothing
	found   bool   // the look before the try found something
	mute    bool
	alone   bool // it waits at one key
	waiting bool // a try was answered with nothing
	// unresolved is the server's refusal to say what "$" stands for. It still knows it where it waits itself, until the
	// phases change.
	unresolved []byte
}

// Pauses between tries: short at first, since most waits are short, and bounded by what
// a waiting client costs the server.
const (
	firstPause = time.Millisecond
	lastPause  = 10 * time.Millisecond
)

// blocking handles a blocking command outside of MULTI.
func (s *Session) blocking(c *command.Command, rc *rewrite.Command, raw []byte) bool {
	s.lines.Command(rc)
	if s.watch != nil && s.lines.Transaction {
		s.refuse(s.rule(), ReasonTransaction, errBlocksWatching)
		return true
	}
	wait, ok := timeout(rc)
	if !ok { // the server will say what is wrong with the timeout
		s.transact(c, rc, raw)
		return true
	}
	b := &blocked{raw: bytes.Clone(raw), command: c, use: rc.Use, pause: firstPause, mute: s.replyMode.take()}
	if _, b.args, _ = resp.ParseRequest(b.raw, nil, s.scan.Limits); len(b.args) == 0 {
		return true
	}
	if wait > 0 {
		b.end = s.now().Add(wait)
	}
	b.alone = len(rc.Keys) == 1 && c.Name != "xreadgroup"
	s.block = b
	s.stall()
	if ids := newest(b.args, c); ids > 0 {
		s.resolveNewest(ids)
		return true
	}
	s.try()
	return true
}

// errBlocksWatching answers a blocking command that would have to be tried in transactions while the application watches.
const errBlocksWatching = "rekey: a blocking command between WATCH and MULTI is not supported in this phase; send it before WATCH"

// timeout is how long a command waits, 0 for ever, which is also what a time means that is too long to count; whether
// the server takes it for one, it says at the first try.
func timeout(rc *rewrite.Command) (d time.Duration, ok bool) {
	word := string(rc.Args[rc.Use.Block])
	if rc.Use.BlockMillis {
		ms, err := strconv.ParseInt(word, 10, 64)
		switch {
		case err != nil || ms < 0:
			return 0, false
		case ms > math.MaxInt64/int64(time.Millisecond):
			return 0, true
		}
		return time.Duration(ms) * time.Millisecond, true
	}
	sec, err := strconv.ParseFloat(word, 64)
	switch {
	case err != nil || !(sec >= 0):
		return 0, false
	case sec > math.MaxInt64/float64(time.Second)/2:
		return 0, true
	}
	return time.Duration(math.Ceil(sec*1000)) * time.Millisecond, true
}

// try runs the command once under the phases of now.
func (s *Session) try() {
	b := s.block
	found := b.found
	b.next, b.empty, b.native, b.found = time.Time{}, false, false, false
	if !s.resolve(b.command, b.args) {
		s.rules.Stats.refused(-1, ReasonUnknown)
		s.endTry(resp.AppendError(nil, "ERR rekey: a key of a blocking command lost its rule"))
		return
	}
	rule := s.rule()
	if closed := s.table.Closed; closed != nil && closed[rule] != "" {
		s.rules.Stats.refused(rule, ReasonClosed)
		s.endTry(resp.AppendError(nil, closed[rule]))
		return
	}
	rc := s.rewriting(b.args, b.use)
	s.lines.Command(&rc)
	if b.unresolved != nil && (s.lines.Transaction || b.version > 0) {
		s.endTry(b.unresolved)
		return
	}
	if !s.lines.Transaction {
		s.waitNative(&rc)
		return
	}
	if s.watch != nil { // the phases changed while it waited
		s.rules.Stats.refused(rule, ReasonTransaction)
		s.endTry(resp.AppendError(nil, errBlocksWatching))
		return
	}
	if s.noMulti != "" {
		s.rules.Stats.refused(rule, ReasonServer)
		s.endTry(resp.AppendError(nil, "rekey: the server refuses MULTI, without which this phase is not safe: "+s.noMulti))
		return
	}
	switch {
	case !b.tried, found: // what is wrong with it, the server says at once
		s.tryNow(&rc)
	case b.command.Name == "xreadgroup":
		s.lookInGroup()
	case writes(s.keys):
		s.look()
	default:
		s.tryNow(&rc)
	}
}

func writes(keys []rewrite.Key) bool {
	for i := range keys {
		if keys[i].Write {
			return true
		}
	}
	return false
}

// tryNow sends the transaction.
func (s *Session) tryNow(rc *rewrite.Command) {
	b := s.block
	b.tried = true
	s.lines.Command(rc)
	if e := s.transact(b.command, rc, b.raw); e != nil {
		e.block, e.mute = true, b.mute
	}
}

// look asks first whether there is anything to take: a try that finds nothing would
// copy for nothing, again and again.
func (s *Session) look() {
	words := [][]byte{[]byte("EXISTS")}
	for i := range s.keys {
		k := &s.keys[i]
		if k.Rule < 0 {
			words = append(words, s.block.args[k.Arg])
			continue
		}
		words = append(words, k.Legacy, k.Target)
	}
	s.internal(s.looked)
	s.send(words...)
}

// looked goes on after a look: with the transaction if there is something.
func (s *Session) looked(reply []byte) {
	b := s.block
	if string(reply) == ":0\r\n" {
		b.empty = true
		s.polled()
		return
	}
	b.found = true
	s.try() // from the beginning: the phases may be others than at the look
}

// scriptGroup says whether a group has anything to be delivered: with CLAIM, also an entry
// that has been pending for long enough, which it becomes without anybody writing.
//
// KEYS: for each stream the name that is asked first, then the other. ARGV: the group,
// the time of CLAIM or nothing, then the identifiers.
var scriptGroup = []byte(`for i=1,#KEYS,2 do local k=KEYS[i]
if k~=KEYS[i+1] and redis.call('EXISTS',k)==0 then k=KEYS[i+1] end
local groups=redis.pcall('XINFO','GROUPS',k)
if ARGV[2+(i+1)/2]~='>' or groups.err then return 1 end
local found=false
for _,g in ipairs(groups) do local f={}
for j=1,#g,2 do f[g[j]]=g[j+1] end
if f.name==ARGV[1] then found=true
if #redis.call('XRANGE',k,'('..f['last-delivered-id'],'+','COUNT',1)>0 then return 1 end end end
if not found then return 1 end
if ARGV[2]~='' then local p=redis.pcall('XPENDING',k,ARGV[1],'IDLE',ARGV[2],'-','+',1)
if p.err or #p>0 then return 1 end end end
return 0`)

// lookInGroup is look for XREADGROUP: the stream is there all the time, and to try it
// copies the stream whole. It first runs once, which makes the consumer known.
func (s *Session) lookInGroup() {
	b := s.block
	words := [][]byte{[]byte("EVAL"), scriptGroup, strconv.AppendInt(nil, int64(2*len(s.keys)), 10)}
	for i := range s.keys {
		first, second := s.bothNames(i)
		words = append(words, first, second)
	}
	group, claim := groupWords(b.args)
	words = append(words, group, claim)
	words = append(words, b.args[s.keys[len(s.keys)-1].Arg+1:]...)
	s.internal(s.looked)
	s.send(words...)
}

// groupWords are the group of XREADGROUP and the time behind CLAIM, nil without one. Of an
// option that comes twice the last one counts.
func groupWords(args [][]byte) (group, claim []byte) {
	for i := 1; i+1 < len(args); i++ {
		switch strings.ToLower(string(args[i])) {
		case "streams":
			return group, claim
		case "group":
			group = args[i+1]
			i += 2
		case "claim":
			i++
			claim = args[i]
		case "count", "block":
			i++
		}
	}
	return group, claim
}

// bothNames are the names of key i in the order in which its phase asks them.
func (s *Session) bothNames(i int) (first, second []byte) {
	k := &s.keys[i]
	if k.Rule < 0 {
		return s.block.args[k.Arg], s.block.args[k.Arg]
	}
	return rewrite.Names(k)
}

// waitNative lets the server wait for what is left of the time.
func (s *Session) waitNative(rc *rewrite.Command) {
	b := s.block
	b.native, b.version = true, s.table.Version
	if !b.end.IsZero() {
		left := max(b.end.Sub(s.now()), time.Millisecond)
		b.args[b.use.Block] = timeoutWord(b.use, left)
		s.lines.Command(rc)
	}
	if e := s.transact(b.command, rc, b.raw); e != nil {
		e.block, e.waits, e.mute = true, true, b.mute
		e.after = s.polled
	}
}

// nothing says that the reply of a try means to go on waiting. Once a command waits, the server is not disturbed by a key
// that gets another type: it looks at it again when there is something to take. Of several keys another may have that, and
// whoever waits in a group is told.
func (b *blocked) nothing(reply []byte) bool {
	if isNull(reply) || b.waiting && b.alone && bytes.HasPrefix(reply, []byte("-WRONGTYPE ")) {
		b.waiting, b.empty = true, true
	}
	return b.empty
}

func timeoutWord(use command.Use, d time.Duration) []byte {
	if use.BlockMillis {
		return strconv.AppendInt(nil, max(1, d.Milliseconds()), 10)
	}
	return strconv.AppendFloat(nil, d.Seconds(), 'f', 3, 64)
}

// polled goes on after a try: to the end, or to a pause.
func (s *Session) polled() {
	b := s.block
	switch {
	case b == nil:
	case !b.empty:
		s.block = nil
		s.unstall()
	case s.leaving:
		s.endTry([]byte(errUnblocked))
	case b.native && s.unblocking && (b.end.IsZero() || s.now().Before(b.end)):
		s.unblocking = false
		s.try()
	case b.native, !b.end.IsZero() && !s.now().Before(b.end):
		s.endTry(s.nullArray())
	default:
		b.next = s.now().Add(b.pause)
		b.pause = min(2*b.pause, lastPause)
	}
}

// endTry ends the blocking command with an answer.
func (s *Session) endTry(reply []byte) {
	b := s.block
	s.block = nil
	s.unstall()
	e := s.q.push()
	e.kind, e.version, e.mute = kindLocal, s.table.Version, b.mute
	e.local = append(e.local, reply...)
	s.settle()
}

// endBlock forgets the blocking command of an entry that was answered otherwise.
func (s *Session) endBlock(e *entry) {
	if e.block && s.block != nil {
		s.block = nil
		s.unstall()
	}
}

// Wake is when the session wants a Tick, if it does.
func (s *Session) Wake() (time.Time, bool) {
	if s.block == nil || s.block.next.IsZero() || s.err != nil {
		return time.Time{}, false
	}
	return s.block.next, true
}

// Tick tells the session that the time of Wake has come. The error is that of [Session.Client].
func (s *Session) Tick() error {
	if s.block == nil || s.block.next.IsZero() || s.err != nil {
		return s.err
	}
	s.table = s.rules.Table()
	s.try()
	s.pump()
	return s.err
}

// Interrupt asks for the end of what the server waits for under phases that hold no
// more: it gives the connection's CLIENT ID, for CLIENT UNBLOCK. Whoever gets one tells
// [Session.Interrupted] what the server answered.
func (s *Session) Interrupt() (id int64, waiting bool) {
	b := s.block
	if b == nil || !b.native || s.id == 0 || b.version >= s.rules.Table().Version {
		return 0, false
	}
	s.unblocking = true
	return s.id, true
}

// Interrupted is told whether the server ended a wait of the connection's. If it had
// none to end, because the command was still on its way to it or was answered already,
// a later null is the answer of a command, or of an UNBLOCK of the application's.
func (s *Session) Interrupted(ended bool) {
	if !ended {
		s.unblocking = false
	}
}

// Login is the AUTH or HELLO by which the connection's user came in, for another
// connection of the same user; nil if there was none.
func (s *Session) Login() []byte { return s.auth }

// newest is the index of XREAD's first identifier if one of them is "$" or "+", which
// mean the state at the call, not at a later try.
func newest(args [][]byte, c *command.Command) int {
	if c.Name != "xread" {
		return 0
	}
	for i := range args {
		if !bytes.EqualFold(args[i], []byte("streams")) {
			continue
		}
		ids := i + 1 + (len(args)-i-1)/2
		for _, id := range args[ids:] {
			if string(id) == "$" || string(id) == "+" {
				return ids
			}
		}
		return 0
	}
	return 0
}

// scriptNewest gives for each stream the identifier that "$" stands for, or "+" where
// there is an entry that it stands for. A server before 7.4 knows no "+": its error is the
// answer, as is that of a user who may not ask, for whom "$" must not become the beginning.
var scriptNewest = []byte(`local out={}
for i=1,#KEYS,2 do local k,w,id=KEYS[i],ARGV[(i+1)/2],'0-0'
if k~=KEYS[i+1] and redis.call('EXISTS',k)==0 then k=KEYS[i+1] end
if w=='+' then local p=redis.pcall('XREAD','STREAMS',k,w)
if type(p)=='table' and p.err then return p end end
local r=redis.pcall('XINFO','STREAM',k)
if r.err and r.err~='ERR no such key' and not string.find(r.err,'WRONGTYPE',1,true) then return r end
if not r.err then for j=1,#r,2 do
if r[j]=='last-generated-id' then id=r[j+1] end
if r[j]=='length' and r[j+1]>0 and w=='+' then id='+' break end end end
if w~='$' and w~='+' then id=w end
out[#out+1]=id end
return out`)

// resolveNewest asks for the identifiers once, before the first try.
func (s *Session) resolveNewest(ids int) {
	b := s.block
	words := [][]byte{[]byte("EVAL"), scriptNewest, strconv.AppendInt(nil, int64(2*len(s.keys)), 10)}
	for i := range s.keys {
		first, second := s.bothNames(i)
		words = append(words, first, second)
	}
	words = append(words, b.args[ids:]...)
	s.internal(func(reply []byte) {
		v, _, err := resp.Parse(reply)
		if err != nil || v.Type != '*' || len(v.Elems) != len(b.args)-ids {
			b.unresolved = bytes.Clone(reply)
			s.try()
			return
		}
		for i, e := range v.Elems {
			b.args[ids+i] = bytes.Clone(e.Str)
		}
		s.try()
	})
	s.send(words...)
}
