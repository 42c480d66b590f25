package command

import "bytes"

// finders find the keys of the commands whose own description is incomplete or
// less exact than what the command does: the specification of XREAD takes a
// group named STREAMS for the keyword, and that of XREADGROUP says that the
// streams are only read.
var finders = map[string]func(dst []Key, args [][]byte) ([]Key, error){
	"xread":             xreadKeys,
	"xreadgroup":        xreadgroupKeys,
	"sort":              sortKeys,
	"sort_ro":           sortROKeys,
	"migrate":           migrateKeys,
	"georadius":         func(dst []Key, args [][]byte) ([]Key, error) { return georadiusKeys(dst, args, 6), nil },
	"georadiusbymember": func(dst []Key, args [][]byte) ([]Key, error) { return georadiusKeys(dst, args, 5), nil },
	"debug":             debugFinder,
}

func xreadKeys(dst []Key, args [][]byte) ([]Key, error) {
	return streamKeys(dst, args, AccessRead)
}

// xreadgroupKeys: reading for a group changes the group, which is in the key.
func xreadgroupKeys(dst []Key, args [][]byte) ([]Key, error) {
	return streamKeys(dst, args, AccessRead|AccessWrite)
}

func streamKeys(dst []Key, args [][]byte, access Access) ([]Key, error) {
	first, _ := streams(args)
	n := len(args) - first
	if first == 0 || n == 0 || n%2 != 0 {
		return dst, ErrSyntax
	}
	for i := first; i < first+n/2; i++ {
		dst = append(dst, Key{Arg: i, Access: access})
	}
	return dst, nil
}

// streams parses XREAD and XREADGROUP up to the keys: the index of the first
// key, 0 if there is none, and of the timeout behind BLOCK, 0 if it does not
// block. Later servers have more options; one that is not known ends the
// search, as an unknown word ends the server's.
func streams(args [][]byte) (first, block int) {
	for i := 1; i < len(args); i++ {
		switch w := args[i]; {
		case foldEqual(w, "STREAMS"):
			return i + 1, block
		case foldEqual(w, "BLOCK"):
			i++
			block = i
		case foldEqual(w, "COUNT"), foldEqual(w, "CLAIM"):
			i++
		case foldEqual(w, "GROUP"):
			i += 2
		case foldEqual(w, "NOACK"):
		default:
			return 0, 0
		}
	}
	return 0, 0
}

// sorting is what the words of a SORT say about keys.
type sorting struct {
	store    int // index of the destination, 0 without STORE
	patterns int // how many patterns of BY and GET name keys
}

func sortOptions(args [][]byte) sorting {
	var o sorting
	for i := 2; i < len(args); i++ {
		switch w := args[i]; {
		case foldEqual(w, "LIMIT"):
			i += 2
		case foldEqual(w, "STORE"):
			i++
			if i < len(args) {
				o.store = i // the last one counts
			}
		case foldEqual(w, "BY"), foldEqual(w, "GET"):
			i++
			if i < len(args) && bytes.IndexByte(args[i], '*') >= 0 {
				o.patterns++
			}
		}
	}
	return o
}

// appendPatterns appends the key patterns of a SORT, without what they say of a
// hash's field ("weight_*->price").
func (o sorting) appendPatterns(dst [][]byte, args [][]byte) [][]byte {
	for i := 2; i+1 < len(args) && len(dst) < o.patterns; i++ {
		switch w := args[i]; {
		case foldEqual(w, "LIMIT"):
			i += 2
		case foldEqual(w, "STORE"):
			i++
		case foldEqual(w, "BY"), foldEqual(w, "GET"):
			i++
			star := bytes.IndexByte(args[i], '*')
			if star < 0 {
				continue
			}
			pattern := args[i]
			if arrow := bytes.Index(pattern[star:], []byte("->")); arrow > 0 && star+arrow+2 < len(pattern) {
				pattern = pattern[:star+arrow]
			}
			dst = append(dst, pattern)
		}
	}
	return dst
}

func sortKeys(dst []Key, args [][]byte) ([]Key, error) {
	dst = append(dst, Key{Arg: 1, Access: AccessRead})
	if o := sortOptions(args); o.store > 0 {
		dst = append(dst, Key{Arg: o.store, Access: AccessWrite})
	}
	return dst, nil
}

func sortROKeys(dst []Key, args [][]byte) ([]Key, error) {
	return append(dst, Key{Arg: 1, Access: AccessRead}), nil
}

// migrateKeys: MIGRATE host port key db timeout ..., or "" for the key and KEYS
// key ... at the end.
func migrateKeys(dst []Key, args [][]byte) ([]Key, error) {
	const access = AccessRead | AccessWrite
	for i := 6; i < len(args); i++ {
		switch w := args[i]; {
		case foldEqual(w, "AUTH"):
			i++
		case foldEqual(w, "AUTH2"):
			i += 2
		case foldEqual(w, "KEYS") && i+1 < len(args):
			if len(args[3]) > 0 {
				return dst, ErrSyntax
			}
			for k := i + 1; k < len(args); k++ {
				dst = append(dst, Key{Arg: k, Access: access})
			}
			return dst, nil
		}
	}
	return append(dst, Key{Arg: 3, Access: access}), nil
}

// georadiusKeys: every STORE and STOREDIST names a key; the last one is written.
func georadiusKeys(dst []Key, args [][]byte, options int) []Key {
	dst = append(dst, Key{Arg: 1, Access: AccessRead})
	for i := options; i+1 < len(args); i++ {
		if foldEqual(args[i], "STORE") || foldEqual(args[i], "STOREDIST") {
			i++
			dst = append(dst, Key{Arg: i, Access: AccessWrite})
		}
	}
	return dst
}

func debugFinder(dst []Key, args [][]byte) ([]Key, error) {
	for i := 2; i < 2+debugKeys(args); i++ {
		dst = append(dst, Key{Arg: i, Access: AccessRead})
	}
	return dst, nil
}

// debugKeys is the number of keys of a DEBUG, all from argument 2 on. Servers
// describe no keys of DEBUG.
func debugKeys(args [][]byte) int {
	if len(args) < 3 {
		return 0
	}
	for _, word := range [...]string{"OBJECT", "LISTPACK", "ZIPLIST", "QUICKLIST", "HTSTATS-KEY", "SDSLEN"} {
		if foldEqual(args[1], word) {
			return 1
		}
	}
	if foldEqual(args[1], "DIGEST-VALUE") {
		return len(args) - 2
	}
	return 0
}
