package rewrite

import "strconv"

// scriptArgs bounds the arguments that one script unpacks: Lua's C stack takes
// 8,000 values (LUAI_MAXCSTACK), the server's own scripts keep some of them.
const scriptArgs = 7000

// scriptXAdd adds to P and then adds what came of it to L: the identifier that the
// server chose, and the length that its trimming left.
//
// KEYS: P, L. ARGV: the index in ARGV of the identifier, then XADD's words behind
// its key.
var scriptXAdd = []byte(`local r=redis.pcall('XADD',KEYS[1],unpack(ARGV,2))
if type(r)~='string' then return r end
local a={unpack(ARGV,tonumber(ARGV[1]))}
a[1]=r
redis.call('XADD',KEYS[2],unpack(a))
redis.call('XTRIM',KEYS[2],'MAXLEN',redis.call('XLEN',KEYS[1]))
return r`)

// scriptSPop takes members out of P and removes the same from L.
//
// KEYS: P, L. ARGV: the protocol of the connection, then SPOP's words behind its
// key. In RESP3 the members are a set. P is missing beside a living L only where
// nothing could be copied, on a full server: then L is popped alone.
var scriptSPop = []byte(`local k=KEYS[1]
if redis.call('EXISTS',k)==0 then k=KEYS[2] end
local r=redis.pcall('SPOP',k,unpack(ARGV,2))
if not r or (type(r)=='table' and r.err) then return r end
if type(r)=='string' then redis.call('SREM',KEYS[2],r) return r end
for i=1,#r,1000 do redis.call('SREM',KEYS[2],unpack(r,i,math.min(i+999,#r))) end
if ARGV[1]~='3' then return r end
local s={}
for i=1,#r do s[r[i]]=true end
return {set=s}`)

var (
	wordTwo = []byte("2")
	digits  = [...][]byte{[]byte("0"), []byte("1"), []byte("2"), []byte("3")}
)

// effect: a write whose outcome the server chooses (XADD with *, SPOP) runs on P,
// and what it did is then done to L. In phases that write one name it is an
// ordinary write.
func (b *Builder) effect(c *Command) {
	k := single(c)
	if k == nil || c.Scripted || len(c.Args) > scriptArgs || !replayable(c) {
		b.once(c)
		return
	}
	var script, first []byte
	switch {
	case equalFold(c.Args[0], "xadd"):
		i := xaddID(c.Args)
		if i == 0 {
			b.once(c)
			return
		}
		script, first = scriptXAdd, strconv.AppendInt(nil, int64(i), 10) // ARGV counts from 1, from the key on
	case equalFold(c.Args[0], "spop"):
		script, first = scriptSPop, digits[c.Resp&3]
	default:
		b.once(c)
		return
	}
	b.addOps(k, treatments[k.Phase].replay)
	start := len(b.args)
	b.args = append(b.args, wordEval, script, wordTwo, k.Target, k.Legacy, first)
	b.args = append(b.args, c.Args[k.Arg+1:]...)
	b.Lines = append(b.Lines, Line{Role: Answer, Rule: k.Rule, start: start, end: len(b.args)})
}

// xaddID is the index of XADD's identifier in args: the first word that is neither
// an option nor an option's value. 0 if there is none.
func xaddID(args [][]byte) int {
	for i := 2; i < len(args); i++ {
		switch w := args[i]; {
		case equalFold(w, "nomkstream"), equalFold(w, "keepref"):
		case equalFold(w, "limit"):
			i++
		case equalFold(w, "maxlen"), equalFold(w, "minid"):
			i++
			if i < len(args) && (string(args[i]) == "=" || string(args[i]) == "~") {
				i++
			}
		default:
			return i
		}
	}
	return 0
}

// equalFold compares a word of a command with a lower-case name.
func equalFold(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
