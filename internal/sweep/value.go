package sweep

import (
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// valueType is what TYPE says. Types other than those below are of modules, or newer than this build.
type valueType string

const (
	noType     valueType = "none"
	stringType valueType = "string"
	listType   valueType = "list"
	setType    valueType = "set"
	hashType   valueType = "hash"
	zsetType   valueType = "zset"
	streamType valueType = "stream"
)

func typeOf(reply *redis.Cmd) (valueType, error) {
	text, err := reply.Text()
	return valueType(text), serverError("TYPE", err)
}

// whole reports whether one command reads all that such a value is. A stream has groups and pending entries, and the
// fields of a hash may have expiry times.
func (t valueType) whole(server traits) bool {
	switch t {
	case stringType, listType, setType, zsetType:
		return true
	case hashType:
		return !server.fieldTTLs
	default:
		return false
	}
}

// read is that command.
func (t valueType) read(name string) command {
	switch t {
	case listType:
		return command{"LRANGE", name, "0", "-1"}
	case setType:
		return command{"SMEMBERS", name}
	case hashType:
		return command{"HGETALL", name}
	case zsetType:
		return command{"ZRANGE", name, "0", "-1", "WITHSCORES"}
	default:
		return command{"GET", name}
	}
}

// same compares two answers of that command by what the type means: the members of a set and the fields of a hash have no
// order, those of a list and of a sorted set do.
func (t valueType) same(a, b any) bool {
	if t == stringType {
		return a == b
	}
	x, okX := words(a)
	y, okY := words(b)
	if !okX || !okY || len(x) != len(y) {
		return false
	}
	switch t {
	case setType:
		slices.Sort(x)
		slices.Sort(y)
		return slices.Equal(x, y)
	case hashType:
		return maps.Equal(fields(x), fields(y))
	default:
		return slices.Equal(x, y)
	}
}

// words is an answer that is a list of strings.
func words(answer any) ([]string, bool) {
	elements, ok := answer.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(elements))
	for _, e := range elements {
		text, ok := e.(string)
		if !ok {
			return nil, false
		}
		out = append(out, text)
	}
	return out, true
}

func fields(flat []string) map[string]string {
	out := make(map[string]string, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		out[flat[i]] = flat[i+1]
	}
	return out
}
