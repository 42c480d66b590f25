package csrf_test

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/beside"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/internal/redistest"
)

// BenchmarkCheck is a check beside the reads that it needs.
func BenchmarkCheck(b *testing.B) {
	rdb := redistest.Shared(b).Client()
	tokens := newTokens(b, rdb)
	sent := token(b, tokens, "s")
	current, err := keys.CSRF("s")
	must(b, err)
	previous, err := keys.CSRFPrevious("s")
	must(b, err)
	beside.Bare(b,
		func() error {
			ok, err := tokens.Check(b.Context(), "s", sent)
			if err == nil && !ok {
				return errors.New("the session's own token is refused")
			}
			return err
		},
		func() error {
			_, err := rdb.Pipelined(b.Context(), func(p redis.Pipeliner) error {
				p.Get(b.Context(), current)
				p.PTTL(b.Context(), current)
				p.Get(b.Context(), previous)
				return nil
			})
			if errors.Is(err, redis.Nil) { // there is no token before
				return nil
			}
			return err
		})
}
