package sweep

import (
	"context"
	"fmt"
)

// light begins a page by weighing its keys. Its end gives the job those that it may treat like any other, and those that it
// renames in place of copying. The others are too big, as [BigKeys.Treat] says, and are named and left: their gate does not
// hold before somebody has decided. from is the name that is copied. A key that grows between this look and its COPY is copied
// all the same.
func (r *run) light(ctx context.Context, l *link, keys []key, from func(key) string, then func(plain, rename []key) error) (end func() error, err error) {
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		names = append(names, from(k))
	}
	weighed, err := weigh(ctx, l, names, r.BigStall)
	if err != nil {
		return nil, err
	}
	return func() error {
		weights, err := weighed()
		if err != nil {
			return err
		}
		plain, rename, err := r.treat(ctx, l, keys, weights)
		if err != nil {
			return err
		}
		return then(plain, rename)
	}, nil
}

// treat tells the keys that are copied from those that are renamed, and names those that are neither.
func (r *run) treat(ctx context.Context, l *link, keys []key, weights []Weight) (plain, rename []key, err error) {
	for i, k := range keys {
		treatment, why := r.BigKeys.Treat(r.Kind, r.strategy, r.Phase, weights[i], r.BigStall)
		if treatment == Plain {
			plain = append(plain, k)
			continue
		}
		if r.Kind == Backfill {
			there, err := l.client.Exists(ctx, k.target).Result()
			if err != nil {
				return nil, nil, serverError("EXISTS", err)
			}
			if there > 0 { // COPY would do nothing
				continue
			}
		}
		if treatment == Rename {
			rename = append(rename, k)
		} else {
			r.found(Big, l, k, why)
		}
	}
	return plain, rename, nil
}

// renamed moves big keys to their target names, in drain; see [BigKeys.Treat].
func (r *run) renamed(ctx context.Context, l *link, keys []key) error {
	return r.each(ctx, l, keys,
		func(k key) command { return command{"RENAMENX", k.legacy, k.target} },
		func(k key, n int64, err error) error {
			if vanished(err) {
				return nil
			}
			r.result.Changed += n // 0: a write has made the target meanwhile
			return err
		})
}

// leftBig says why a gate does not hold for the keys that were too big.
func (r *run) leftBig() (reason string, some bool) {
	n := r.result.Problems[Big]
	reason = fmt.Sprintf("%d keys are too big to copy unasked; run it again with --big-keys now", n)
	if r.Kind == Backfill {
		reason += ", or with --big-keys move in phase drain"
	}
	return reason, n > 0
}
