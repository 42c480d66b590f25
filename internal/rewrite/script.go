package rewrite

import (
	"errors"
	"strconv"

	"github.com/classwaves/rekey/internal/command"
)

// While a WATCH of the application is open, EXEC is the application's alone: the
// engine's transactions go as one script, which keeps the watch.

// ErrTooManyWords says that a command is too long for a script.
var ErrTooManyWords = errors.New("rekey: too many arguments for a command between WATCH and MULTI")

// ErrNestedScript says that a command is itself a script, which no script may run.
var ErrNestedScript = errors.New("rekey: a script or function needs lines beside it in this phase, which is not possible between WATCH and MULTI; send it before WATCH or inside MULTI")

// scriptCall defines c(args): the reply of a command as a value that Lua gives back
// to the client as the server would have. ARGV[1] is the protocol, ARGV[2] the
// number of elements of an array that may hold nulls. Replies are taken as RESP3,
// where doubles, maps and sets have tables of their own, and given back with the
// switch at 2, where false is a null also inside an array. Some commands have nulls
// where their number does not tell, and RESP3's would end the array or take the name
// out of the map: XREADGROUP for entries that were deleted, XPENDING and XINFO for what
// is not known of a group, SORT for what GET does not find. Their replies are taken as
// RESP2, and the maps made here.
const scriptCall = `local function m(r) local t={}
for i=1,#r,2 do local v=r[i+1]
if type(v)=='table' and (r[i]=='groups' or r[i]=='consumers') then for j=1,#v do v[j]=m(v[j]) end end
t[r[i]]=v end
return {map=t} end
local function pop(one,a)
for i=2,#a do local r=redis.pcall(one,a[i])
if type(r)=='string' then return {a[i],r} end
if type(r)=='table' and (r.err or #r>0) then return r.err and r or {a[i],unpack(r)} end end
return false end
local function c(a)
local name=string.lower(a[1])
local flat=ARGV[1]=='3' and (name=='xreadgroup' or name=='xpending' or name=='xinfo' or name=='sort' or name=='sort_ro')
if ARGV[1]=='3' and not flat then redis.setresp(3) end
local one,r=string.match(name,'^(%a+)%*$'),nil
if one then r=pop(one,a) else r=redis.pcall(unpack(a)) end
redis.setresp(2)
if r==nil then r=false end
if flat and type(r)=='table' and not r.err then
if name=='xreadgroup' then local t={} for i=1,#r do t[r[i][1]]=r[i][2] end return {map=t} end
if name=='xinfo' and string.lower(a[2])=='stream' then return m(r) end
if name=='xinfo' then for i=1,#r do r[i]=m(r[i]) end end
return r end
if type(r)=='table' and not r.err then for i=1,tonumber(ARGV[2]) do if r[i]==nil then r[i]=false end end end
return r end
`

// scriptRead runs a read on the name of each key that exists, which is what the
// phases with two names answer from, and writes nothing.
//
// KEYS: for each key the name that is asked first, then the other. ARGV: protocol,
// nulls, number of keys, their places in the command, then the command's words.
var scriptRead = []byte(scriptCall + `local n=tonumber(ARGV[3])
local a={unpack(ARGV,4+n)}
for i=1,n do local k=KEYS[2*i-1]
if redis.call('EXISTS',k)==0 then k=KEYS[2*i] end
a[tonumber(ARGV[3+i])]=k end
return c(a)`)

// scriptRun runs lines in their order and answers with the reply of one of them. A line
// that fails ends it: a script goes on where a transaction would not have begun, and
// after a COPY that full memory or a missing right refused, the command would find
// nothing under P; after a SET that was refused, UNLINK would take away what L holds.
// RENAMENX of a name that is missing is no failure. The application's command changes
// nothing when it fails: those that can, scripts, do not come here.
//
// ARGV: protocol, nulls, index of the answer, then for each line the number of its
// words and the words.
var scriptRun = []byte(scriptCall + `local i,l,answer,out=4,1,tonumber(ARGV[3]),false
while i<=#ARGV do local n=tonumber(ARGV[i])
local a={unpack(ARGV,i+1,i+n)}
local r
if l==answer then r=c(a) out=r else r=redis.pcall(unpack(a)) end
if type(r)=='table' and r.err and (l==answer or r.err~='ERR no such key') then return r end
i=i+n+1 l=l+1 end
return out`)

// scriptCount sums lines that each count as 1 at most (see [Counted]). A line whose
// number of words is negative only runs.
var scriptCount = []byte(`local i,sum=1,0
while i<=#ARGV do local n=tonumber(ARGV[i])
local m=math.abs(n)
local r=redis.pcall(unpack(ARGV,i+1,i+m))
if type(r)=='table' then return r end
if n>0 then sum=sum+math.min(r,1) end
i=i+m+1 end
return sum`)

// Scripted turns the lines of c, which was rewritten with c.Scripted set, into one
// script if they need to run together. The answer is then its reply.
func (b *Builder) Scripted(c *Command) error {
	if !b.Transaction {
		return nil
	}
	if len(c.Args) > scriptArgs {
		return ErrTooManyWords
	}
	if isScript(c) {
		return ErrNestedScript
	}
	switch {
	case b.has(Counted):
		b.countScript()
	case c.Use.Class == command.ClassRead:
		b.readScript(c)
	default:
		b.runScript(c)
	}
	b.Transaction = false
	return nil
}

// isScript says that the command runs a script or a function.
func isScript(c *Command) bool {
	for _, name := range [...]string{"eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"} {
		if equalFold(c.Args[0], name) {
			return true
		}
	}
	return false
}

func (b *Builder) has(r Role) bool {
	for _, l := range b.Lines {
		if l.Role == r {
			return true
		}
	}
	return false
}

func (b *Builder) readScript(c *Command) {
	b.Reset()
	start := b.eval(scriptRead, 0)
	ruled := 0
	for i := range c.Keys {
		if k := &c.Keys[i]; k.ruled() {
			ruled++
			second := k.name(c.Args)
			if len(treatments[k.Phase].read) > 0 {
				second = k.other()
			}
			b.args = append(b.args, k.name(c.Args), second)
		}
	}
	b.args[start+2] = number(2 * ruled)
	b.args = append(b.args, digits[c.Resp&3], number(nullable(c)), number(ruled))
	for i := range c.Keys {
		if k := &c.Keys[i]; k.ruled() {
			b.args = append(b.args, number(k.Arg+1))
		}
	}
	b.args = append(b.args, c.Args...)
	b.endEval(start)
}

// runScript runs all lines; the reply of the first that is the answer is returned.
func (b *Builder) runScript(c *Command) {
	lines := append([]Line(nil), b.Lines...)
	words := append([][]byte(nil), b.args...)
	b.Reset()
	start := b.eval(scriptRun, 0)
	b.names(c, start)
	at := 0
	for i, l := range lines {
		if at == 0 && l.Role == Answer {
			at = i + 1
		}
	}
	b.args = append(b.args, digits[c.Resp&3], number(nullable(c)), number(at))
	for _, l := range lines {
		b.args = append(b.args, number(l.end-l.start))
		b.args = append(b.args, words[l.start:l.end]...)
	}
	b.endEval(start)
}

func (b *Builder) countScript() {
	lines := append([]Line(nil), b.Lines...)
	words := append([][]byte(nil), b.args...)
	b.Reset()
	start := b.eval(scriptCount, 0)
	keys := 0
	for _, l := range lines {
		for _, name := range words[l.start+1 : l.end] {
			b.args = append(b.args, name)
			keys++
		}
	}
	b.args[start+2] = number(keys)
	for _, l := range lines {
		n := l.end - l.start
		if l.Role != Counted {
			n = -n
		}
		b.args = append(b.args, number(n))
		b.args = append(b.args, words[l.start:l.end]...)
	}
	b.endEval(start)
}

// names appends both names of each key as the script's KEYS.
func (b *Builder) names(c *Command, start int) {
	n := 0
	for i := range c.Keys {
		k := &c.Keys[i]
		if !k.ruled() {
			b.args = append(b.args, c.Args[k.Arg])
			n++
			continue
		}
		b.args = append(b.args, k.Target, k.Legacy)
		n += 2
	}
	b.args[start+2] = number(n)
}

// eval begins a line that runs a script; endEval ends it.
func (b *Builder) eval(script []byte, keys int) (start int) {
	start = len(b.args)
	b.args = append(b.args, wordEval, script, number(keys))
	return start
}

func (b *Builder) endEval(start int) {
	b.Lines = append(b.Lines, Line{Role: Answer, Rule: NoRule, start: start, end: len(b.args)})
}

func number(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }

// nullable is the number of elements in the reply of a command whose array may hold
// nulls: Lua ends an array at its first nil.
func nullable(c *Command) int {
	switch {
	case equalFold(c.Args[0], "mget"):
		return len(c.Args) - 1
	case equalFold(c.Args[0], "hmget"), equalFold(c.Args[0], "zmscore"),
		equalFold(c.Args[0], "geopos"), equalFold(c.Args[0], "geohash"):
		return len(c.Args) - 2
	case equalFold(c.Args[0], "bitfield"), equalFold(c.Args[0], "bitfield_ro"):
		return bitfieldOps(c.Args)
	case equalFold(c.Args[0], "hgetdel"), equalFold(c.Args[0], "hgetex"):
		for i, w := range c.Args[2:] {
			if equalFold(w, "fields") {
				return max(0, len(c.Args)-2-i-2) // behind the word and the number
			}
		}
	}
	return 0
}

// bitfieldOps is the number of operations of a BITFIELD that answer: with OVERFLOW FAIL
// some of them with a null.
func bitfieldOps(args [][]byte) (n int) {
	for i := 2; i < len(args); {
		switch {
		case equalFold(args[i], "overflow"):
			i += 2
			continue
		case equalFold(args[i], "get"):
			i += 3
		default:
			i += 4
		}
		n++
	}
	return n
}
