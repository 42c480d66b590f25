package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A Model says what the operations on one key of one type mean. It is nondeterministic: an
// operation whose reply is not known may have left one of several states (SPOP).
type Model struct {
	name string
	// step gives every state in which op may leave the key when it found it in state and answered
	// reply; none when it could not have answered that. It panics on an operation that it does not
	// know: a history that the model cannot judge must not pass.
	step func(state value, op Op, reply Reply) []value
}

func (m Model) String() string { return m.name }

// value is the state of a key: its elements in order, sorted where order means nothing. A register
// and a counter have one. No elements: no key.
type value []string

// The models.
var (
	// Register knows GET, SET, SETNX (1 or 0), GETSET, GETDEL, DEL and EXISTS.
	Register = Model{"register", registerStep}
	// Counter knows INCR, INCRBY, DECR, GET (a number or nil) and DEL.
	Counter = Model{"counter", counterStep}
	// Set knows SADD, SREM, SCARD, SISMEMBER, SMEMBERS, SPOP (one member) and DEL.
	Set = Model{"set", setStep}
	// List knows LPUSH, RPUSH, LPOP, RPOP (one element), LLEN, LRANGE (all of it) and DEL.
	List = Model{"list", listStep}
)

// porcupine gives the model in the form of the checker, cut by key.
func (m Model) porcupine() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Partition: byKey,
		Init:      func() []any { return []any{value(nil)} },
		Step: func(state, input, output any) []any {
			next := m.step(state.(value), input.(Op), output.(Reply))
			states := make([]any, len(next))
			for i, v := range next {
				states[i] = v
			}
			return states
		},
		Equal:             func(a, b any) bool { return slices.Equal(a.(value), b.(value)) },
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %v", input, output) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%q", state) },
	}
	return model.ToModel()
}

func byKey(ops []porcupine.Operation) [][]porcupine.Operation {
	byKey := make(map[string][]porcupine.Operation)
	var keys []string // in order of appearance, so that a verdict can be repeated
	for _, op := range ops {
		key := op.Input.(Op).Key
		if _, seen := byKey[key]; !seen {
			keys = append(keys, key)
		}
		byKey[key] = append(byKey[key], op)
	}
	parts := make([][]porcupine.Operation, len(keys))
	for i, key := range keys {
		parts[i] = byKey[key]
	}
	return parts
}

// when gives the state that an operation leaves, if its reply can be the one that it should be.
func when(reply Reply, should bool, next value) []value {
	if reply.Unknown || should {
		return []value{next}
	}
	return nil
}

// isInt tells whether the reply is the number n.
func isInt(reply Reply, n int) bool { return !reply.Null && reply.Int == int64(n) }

// isValue tells whether the reply is the one element of state, or nil when there is none.
func isValue(reply Reply, state value) bool {
	if len(state) == 0 {
		return reply.Null
	}
	return !reply.Null && reply.Str == state[0]
}

func unknownOp(model string, op Op) []value {
	panic(fmt.Sprintf("history: the %s model does not know %q", model, op.Name))
}

func registerStep(state value, op Op, reply Reply) []value {
	switch op.Name {
	case "GET":
		return when(reply, isValue(reply, state), state)
	case "EXISTS":
		return when(reply, isInt(reply, len(state)), state)
	case "SET":
		return when(reply, true, value(op.Args))
	case "SETNX":
		if len(state) == 0 {
			return when(reply, isInt(reply, 1), value(op.Args))
		}
		return when(reply, isInt(reply, 0), state)
	case "GETSET":
		return when(reply, isValue(reply, state), value(op.Args))
	case "GETDEL":
		return when(reply, isValue(reply, state), nil)
	case "DEL":
		return when(reply, isInt(reply, len(state)), nil)
	}
	return unknownOp("register", op)
}

func counterStep(state value, op Op, reply Reply) []value {
	switch op.Name {
	case "GET":
		return when(reply, isValue(reply, state), state)
	case "DEL":
		return when(reply, isInt(reply, len(state)), nil)
	case "INCR":
		return add(state, 1, reply)
	case "DECR":
		return add(state, -1, reply)
	case "INCRBY":
		return add(state, atoi(op.Args[0]), reply)
	}
	return unknownOp("counter", op)
}

func add(state value, by int, reply Reply) []value {
	n := by
	if len(state) > 0 {
		n += atoi(state[0])
	}
	return when(reply, isInt(reply, n), value{strconv.Itoa(n)})
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("history: counter: %v", err))
	}
	return n
}

func setStep(state value, op Op, reply Reply) []value {
	switch op.Name {
	case "SADD":
		next := slices.Concat(state, op.Args)
		slices.Sort(next)
		next = slices.Compact(next)
		return when(reply, isInt(reply, len(next)-len(state)), next)
	case "SREM":
		next := slices.DeleteFunc(slices.Clone(state), func(m string) bool { return slices.Contains(op.Args, m) })
		return when(reply, isInt(reply, len(state)-len(next)), next)
	case "SCARD":
		return when(reply, isInt(reply, len(state)), state)
	case "SISMEMBER":
		return when(reply, isInt(reply, btoi(slices.Contains(state, op.Args[0]))), state)
	case "SMEMBERS":
		return when(reply, slices.Equal(slices.Sorted(slices.Values(reply.List)), state), state)
	case "SPOP":
		return pop(state, reply)
	case "DEL":
		return when(reply, isInt(reply, min(len(state), 1)), nil)
	}
	return unknownOp("set", op)
}

// pop takes the member that the reply names; when there is no reply, any one of them.
func pop(state value, reply Reply) []value {
	if len(state) == 0 {
		return when(reply, reply.Null, state)
	}
	var next []value
	for i, member := range state {
		if reply.Unknown || !reply.Null && reply.Str == member {
			next = append(next, slices.Delete(slices.Clone(state), i, i+1))
		}
	}
	return next
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func listStep(state value, op Op, reply Reply) []value {
	switch op.Name {
	case "LPUSH":
		front := slices.Clone(op.Args)
		slices.Reverse(front) // LPUSH a b puts b in front of a
		next := value(slices.Concat(front, state))
		return when(reply, isInt(reply, len(next)), next)
	case "RPUSH":
		next := value(slices.Concat(state, op.Args))
		return when(reply, isInt(reply, len(next)), next)
	case "LPOP":
		return when(reply, isValue(reply, state), state[min(1, len(state)):])
	case "RPOP":
		end := max(0, len(state)-1)
		return when(reply, isValue(reply, state[end:]), state[:end:end])
	case "LLEN":
		return when(reply, isInt(reply, len(state)), state)
	case "LRANGE":
		if whole := strings.Join(op.Args, " "); whole != "0 -1" {
			panic(fmt.Sprintf("history: LRANGE %s: the list model knows 0 -1", whole))
		}
		return when(reply, slices.Equal(reply.List, state), state)
	case "DEL":
		return when(reply, isInt(reply, min(len(state), 1)), nil)
	}
	return unknownOp("list", op)
}
