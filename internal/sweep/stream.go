package sweep

import (
	"context"
	"fmt"
	"reflect"
	"slices"
)

// streams compares two streams: their entries, their ids and counters, their groups with consumers and pending entries.
func (t *twins) streams(ctx context.Context) (bool, error) {
	for _, compare := range []func(context.Context) (bool, error){t.counters, t.entries, t.groups} {
		if same, err := compare(ctx); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// counters are those that a stream has of itself. The nodes and keys of its tree are the server's own business.
func (t *twins) counters(ctx context.Context) (bool, error) {
	a, b, err := t.both(ctx, func(name string) command { return command{"XINFO", "STREAM", name} })
	if err != nil {
		return false, err
	}
	x, y := named(a), named(b)
	for _, field := range []string{"length", "last-generated-id", "max-deleted-entry-id", "entries-added", "recorded-first-entry-id", "groups"} {
		if x[field] != y[field] {
			return false, nil
		}
	}
	return true, nil
}

func (t *twins) entries(ctx context.Context) (bool, error) {
	for from := "-"; ; {
		a, b, err := t.both(ctx, func(name string) command {
			return command{"XRANGE", name, from, "+", "COUNT", elementsAtOnce}
		})
		if err != nil || !reflect.DeepEqual(a, b) {
			return false, err
		}
		last, n := lastID(a)
		if n < elementsAtOnce {
			return true, nil
		}
		from = "(" + last
	}
}

func (t *twins) groups(ctx context.Context) (bool, error) {
	a, b, err := t.both(ctx, func(name string) command { return command{"XINFO", "GROUPS", name} })
	if err != nil || !reflect.DeepEqual(a, b) {
		return false, err
	}
	groups, _ := a.([]any)
	for _, g := range groups {
		name := named(g)["name"]
		a, b, err := t.both(ctx, func(key string) command { return command{"XINFO", "CONSUMERS", key, name} })
		if err != nil || !slices.Equal(consumers(a), consumers(b)) {
			return false, err
		}
		if same, err := t.pending(ctx, name); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// consumers are the names and how many entries each has; not when they were last seen.
func consumers(answer any) (out []string) {
	list, _ := answer.([]any)
	for _, c := range list {
		fields := named(c)
		out = append(out, fmt.Sprintf("%q %v", fields["name"], fields["pending"]))
	}
	slices.Sort(out)
	return out
}

// pending compares a group's entries that were delivered and not acknowledged: to whom, how often, and when.
func (t *twins) pending(ctx context.Context, group any) (bool, error) {
	for from := "-"; ; {
		a, b, err := t.both(ctx, func(key string) command { return command{"XPENDING", key, group, from, "+", elementsAtOnce} })
		if err != nil {
			return false, err
		}
		x, _ := a.([]any)
		y, _ := b.([]any)
		if len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if !samePending(x[i], y[i]) {
				return false, nil
			}
		}
		last, n := lastID(a)
		if n < elementsAtOnce {
			return true, nil
		}
		from = "(" + last
	}
}

// samePending compares two of [id, consumer, milliseconds since delivery, deliveries].
func samePending(a, b any) bool {
	x, okX := a.([]any)
	y, okY := b.([]any)
	if !okX || !okY || len(x) != 4 || len(y) != 4 {
		return false
	}
	idleX, _ := x[2].(int64)
	idleY, _ := y[2].(int64)
	return x[0] == y[0] && x[1] == y[1] && x[3] == y[3] && max(idleX-idleY, idleY-idleX) <= deliveryTolerance
}

// named is an answer of names and values in turn.
func named(answer any) map[string]any {
	flat, _ := answer.([]any)
	out := make(map[string]any, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		if name, ok := flat[i].(string); ok {
			out[name] = flat[i+1]
		}
	}
	return out
}

// lastID is the id of the last of some entries, and how many there are.
func lastID(answer any) (id string, n int) {
	list, _ := answer.([]any)
	if len(list) == 0 {
		return "", 0
	}
	if entry, ok := list[len(list)-1].([]any); ok && len(entry) > 0 {
		id, _ = entry[0].(string)
	}
	return id, len(list)
}
