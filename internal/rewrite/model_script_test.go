package rewrite

import (
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// The scripts that internal/rewrite sends are run as they are, by a Lua 5.1 of its
// own, against the model's server.

// interpreter is one Lua state and the scripts it has compiled.
type interpreter struct {
	state    *lua.LState
	compiled map[string]*lua.FunctionProto
	server   *store // whose script is running
	resp3    bool   // replies are given as RESP3 does
	wrote    bool   // a script that wrote may go on writing at full memory
}

func newInterpreter() *interpreter {
	in := &interpreter{state: lua.NewState(), compiled: map[string]*lua.FunctionProto{}}
	redis := in.state.NewTable()
	in.state.SetFuncs(redis, map[string]lua.LGFunction{
		"call":        func(l *lua.LState) int { return in.call(l, true) },
		"pcall":       func(l *lua.LState) int { return in.call(l, false) },
		"setresp":     func(l *lua.LState) int { in.resp3 = l.CheckInt(1) == 3; return 0 },
		"error_reply": func(l *lua.LState) int { l.Push(errorTable(l, l.CheckString(1))); return 1 },
	})
	in.state.SetGlobal("redis", redis)
	return in
}

// call is redis.call and redis.pcall.
func (in *interpreter) call(l *lua.LState, raise bool) int {
	words := make([][]byte, l.GetTop())
	for i := range words {
		words[i] = []byte(lua.LVAsString(l.Get(i + 1)))
	}
	if strings.EqualFold(string(words[0]), "eval") {
		panic("a script inside a script, which a server refuses")
	}
	before := len(in.server.touched)
	full := in.server.full
	in.server.full = full && !in.wrote
	reply := in.server.do(words)
	in.server.full = full
	in.wrote = in.wrote || len(in.server.touched) > before
	if f, failed := reply.(failure); failed && raise {
		l.Error(lua.LString(f), 0)
	}
	l.Push(in.toLua(l, reply))
	return 1
}

func errorTable(l *lua.LState, text string) *lua.LTable {
	t := l.NewTable()
	t.RawSetString("err", lua.LString(text))
	return t
}

// toLua is a reply as a script gets it.
func (in *interpreter) toLua(l *lua.LState, reply any) lua.LValue {
	switch r := reply.(type) {
	case nil:
		if in.resp3 {
			return lua.LNil
		}
		return lua.LFalse
	case int:
		return lua.LNumber(r)
	case string:
		return lua.LString(r)
	case status:
		t := l.NewTable()
		t.RawSetString("ok", lua.LString(r))
		return t
	case failure:
		return errorTable(l, string(r))
	case []any:
		t := l.NewTable()
		for i, e := range r {
			t.RawSetInt(i+1, in.toLua(l, e))
		}
		return t
	}
	panic(fmt.Sprintf("no reply: %T", reply))
}

// fromLua is what a script returns as the reply that the client gets.
func fromLua(v lua.LValue) any {
	switch r := v.(type) {
	case lua.LNumber:
		return int(r)
	case lua.LString:
		return string(r)
	case lua.LBool:
		if r {
			return 1
		}
		return nil
	case *lua.LTable:
		if e, ok := r.RawGetString("err").(lua.LString); ok {
			return failure(e)
		}
		if o, ok := r.RawGetString("ok").(lua.LString); ok {
			return status(o)
		}
		var out []any
		for i := 1; r.RawGetInt(i) != lua.LNil; i++ {
			out = append(out, fromLua(r.RawGetInt(i)))
		}
		return out
	}
	return nil
}

// eval runs EVAL script numkeys key ... arg ...
func (s *store) eval(args []string) any {
	in := s.script
	text := args[0]
	proto := in.compiled[text]
	if proto == nil {
		chunk, err := parse.Parse(strings.NewReader(text), "script")
		if err != nil {
			panic(err)
		}
		if proto, err = lua.Compile(chunk, "script"); err != nil {
			panic(err)
		}
		in.compiled[text] = proto
	}
	var keys int
	if _, err := fmt.Sscan(args[1], &keys); err != nil {
		panic(err)
	}
	in.state.SetGlobal("KEYS", in.list(args[2:2+keys]))
	in.state.SetGlobal("ARGV", in.list(args[2+keys:]))
	in.server, in.resp3, in.wrote = s, false, false
	in.state.Push(in.state.NewFunctionFromProto(proto))
	if err := in.state.PCall(0, 1, nil); err != nil {
		if api, ok := err.(*lua.ApiError); ok && api.Type == lua.ApiErrorRun && api.Cause == nil {
			return failure(api.Object.String())
		}
		panic(err)
	}
	out := fromLua(in.state.Get(-1))
	in.state.Pop(1)
	return out
}

func (in *interpreter) list(words []string) *lua.LTable {
	t := in.state.NewTable()
	for i, w := range words {
		t.RawSetInt(i+1, lua.LString(w))
	}
	return t
}
