package rewrite

import (
	"errors"

	"github.com/classwaves/rekey/internal/command"
)

// ErrNeedsMemory says that a write cannot keep both copies equal without memory for
// a third.
var ErrNeedsMemory = errors.New("rekey: full memory: the other copy of the key cannot be written")

// scriptFull runs a write of one key that needs no memory where none is left, so
// nothing can be copied: on each name that exists, and P's reply is the answer. A
// copy that is missing stays missing, which is a state that dual and settled know. In
// mode ttl the expiry of P is given to L, because before 7.2 a relative one would
// differ; before 7.0, where nobody tells it to the millisecond, nothing is run, for an L
// that stays without it would be copied to P once P has expired.
//
// KEYS: P, L. ARGV: protocol, nulls, mode, place of the key, the command's words.
var scriptFull = []byte(scriptCall + `local P,L,k=KEYS[1],KEYS[2],tonumber(ARGV[4])
local a={unpack(ARGV,5)}
local function on(name) a[k]=name return c(a) end
local function has(name) return redis.call('EXISTS',name)==1 end
local p,l=has(P),has(L)
if l and not p then return on(L) end
if l and ARGV[3]=='ttl' then local t=redis.pcall('PEXPIRETIME',P)
if type(t)=='table' and t.err then return redis.error_reply("OOM command not allowed when used memory > 'maxmemory'.") end end
local r=on(P)
if not l then return r end
if ARGV[3]~='ttl' then on(L) return r end
local t=redis.call('PEXPIRETIME',P)
if t==-2 then redis.call('UNLINK',L) elseif t==-1 then redis.call('PERSIST',L) else redis.call('PEXPIREAT',L,t) end
return r`)

// scriptFullMany is the same for a write of several keys: only where no copy of any
// key is missing.
//
// KEYS: P and L of each key. ARGV: protocol, nulls, number of words, the command on
// target names, the command on legacy names.
var scriptFullMany = []byte(scriptCall + `for i=1,#KEYS,2 do
if redis.call('EXISTS',KEYS[i])~=redis.call('EXISTS',KEYS[i+1]) then
return redis.error_reply("OOM command not allowed when used memory > 'maxmemory'.") end end
local n=tonumber(ARGV[3])
local r=c({unpack(ARGV,4,3+n)})
c({unpack(ARGV,4+n)})
return r`)

// Full fills the builder with one line for a write that needs no memory itself, on a
// server that has none left and that refuses what Command would send: Redis 7.0
// refuses every command inside MULTI then. ErrNeedsMemory where that is not possible.
func (b *Builder) Full(c *Command) error {
	b.Reset()
	if len(c.Args) > scriptArgs {
		return ErrTooManyWords
	}
	if isScript(c) {
		return ErrNeedsMemory
	}
	scripted := *c
	scripted.Scripted = true
	k := single(c)
	switch {
	case c.Use.Class == command.ClassCount:
		b.Command(&scripted)
		return b.Scripted(&scripted)
	case !anyBoth(c):
		return b.fullRun(&scripted)
	case k != nil && c.Use.Class == command.ClassEffect && equalFold(c.Args[0], "spop"):
		b.eval(scriptSPop, 2)
		b.args = append(b.args, k.Target, k.Legacy, digits[c.Resp&3])
		b.args = append(b.args, c.Args[2:]...)
	case k != nil && c.Use.Class == command.ClassReplay:
		mode := []byte("both")
		if c.Use.RelativeTTL && !c.Server.Frozen {
			mode = []byte("ttl")
		}
		b.eval(scriptFull, 2)
		b.args = append(b.args, k.Target, k.Legacy, digits[c.Resp&3], number(nullable(c)), mode, number(k.Arg+1))
		b.args = append(b.args, c.Args...)
	case replayable(c) && c.Use.Class == command.ClassReplay:
		start := b.eval(scriptFullMany, 0)
		b.names(c, start)
		b.args = append(b.args, digits[c.Resp&3], number(nullable(c)), number(len(c.Args)))
		b.renamed(c, targetLeg)
		b.renamed(c, legacyLeg)
	default:
		return ErrNeedsMemory
	}
	b.endEval(0)
	return nil
}

// fullRun runs the lines as a script. A copy before a write that removes L anyway is
// a rename, which needs no memory.
func (b *Builder) fullRun(c *Command) error {
	b.Command(c)
	for _, l := range b.Lines {
		if l.Role == Copied {
			b.args[l.start] = wordRenameNX
		}
	}
	b.Transaction = true
	b.runScript(c)
	b.Transaction = false
	return nil
}

// anyBoth says that some key is written on both names.
func anyBoth(c *Command) bool {
	for i := range c.Keys {
		if c.Keys[i].ruled() && treatments[c.Keys[i].Phase].both {
			return true
		}
	}
	return false
}

// renamed appends the words of the command with its keys renamed.
func (b *Builder) renamed(c *Command, l leg) {
	b.addCommand(Answer, c, l)
	b.Lines = b.Lines[:len(b.Lines)-1]
}

// Snapshot fills the builder with a read that adds nothing to the server and so is
// not refused where COPY, or any command inside MULTI, is: full memory, a replica, a
// user without a right to COPY, a type that cannot be copied. For one key it is
//
//	WATCH L P; EXISTS P; CMD P; CMD L
//
// to which the caller adds MULTI and EXEC, an empty transaction that only says
// whether the two names stood still meanwhile; if EXEC answers nil, all of it is sent
// again. script is set where one line of the builder is the whole read: several keys, a
// command that would block outside of a transaction, an open WATCH of the application.
func (b *Builder) Snapshot(c *Command) (script bool, err error) {
	k := single(c)
	if k == nil || c.Use.Block > 0 || c.Scripted {
		scripted := *c
		scripted.Scripted = true
		b.Command(&scripted)
		b.Transaction = true
		return true, b.Scripted(&scripted)
	}
	b.Reset()
	b.add(Removed, k.Rule, wordWatch, k.Legacy, k.Target)
	b.add(Looked, k.Rule, wordExists, k.Target)
	b.addCommand(Answer, c, targetLeg)
	b.addCommand(Alternative, c, legacyLeg)
	return false, nil
}
