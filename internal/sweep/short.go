package sweep

import "context"

const (
	// shortBytes is what a string may have to be compared by the shortest look. Longer ones are measured first: nobody knows
	// how long a value is before it is asked for.
	shortBytes = 4 << 10
	// longWay is how many pages take the long way after one in which few keys were short strings.
	longWay = 20
)

// settleShort is the look before the first one: two short strings that are equal, and expire at one time, need no DUMP and no
// MEMORY USAGE, which take the server three times as long. It returns the keys that it could not settle. As with the first look
// the two names are not read at one moment, and what is equal is equal.
func (j *verify) settleShort(ctx context.Context, l *link, keys []key) (rest []key, err error) {
	if j.expect.double || len(keys) == 0 {
		return keys, nil // what has two names is wrong, whatever it is
	}
	if j.long > 0 {
		j.long--
		return keys, nil
	}
	commands := make([]command, 0, 4*len(keys))
	for _, k := range keys {
		commands = append(commands, command{"GETRANGE", k.legacy, 0, shortBytes - 1}, command{"GETRANGE", k.target, 0, shortBytes - 1},
			command{j.traits.expiry, k.legacy}, command{j.traits.expiry, k.target})
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		of, about := replies[4*i:4*i+4], commands[4*i:4*i+4]
		var text [2]string
		short := true
		for n := range text {
			if code(of[n].Err()) == "WRONGTYPE" {
				short = false
				continue
			}
			if err := serverError("GETRANGE", of[n].Err()); err != nil {
				return nil, err
			}
			text[n], _ = of[n].Val().(string)
			short = short && len(text[n]) < shortBytes
		}
		a, err := integer(about[2], of[2])
		if err != nil {
			return nil, err
		}
		b, err := integer(about[3], of[3])
		if err != nil {
			return nil, err
		}
		if !short || text[0] != text[1] || a == gone || b == gone || !j.sameExpiry(a, b) {
			rest = append(rest, k)
		}
	}
	if len(rest) > len(keys)*3/4 {
		j.long = longWay
	}
	return rest, nil
}
