package accesscode_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/internal/redistest"
)

// few draws from twelve codes, so that most of what is drawn is somebody's already.
func few() string { return "AAAA" + string("ACD"[rand.IntN(3)]) + string("ACDE"[rand.IntN(4)]) }

const fewCodes = 12

// race gives codes to as many sessions at once as there are codes, and a few more, from a fleet, and
// says how many got one. No two may have the same.
func race(t *testing.T, fleet []*accesscode.Codes) (given map[string]string) {
	t.Helper()
	const sessions = fewCodes + 4
	given = make(map[string]string)
	var mu sync.Mutex
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for i := range sessions {
		ready.Add(1)
		done.Go(func() {
			session := fmt.Sprintf("s%d", i)
			ready.Done()
			<-begin
			code, err := fleet[i%len(fleet)].Create(t.Context(), session)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, accesscode.ErrExhausted):
			case err != nil:
				t.Error(err)
			case given[code] != "":
				t.Errorf("%s and %s share a code", given[code], session)
			default:
				given[code] = session
			}
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	return given
}

// A directory that does not look after uniqueness is the database of another program: the old release
// is one. What keeps codes apart then is the reservation in Redis alone.
func TestNoTwoSessionsShareACode(t *testing.T) {
	for name, lax := range map[string]bool{"both guards": false, "redis alone": true} {
		t.Run(name, func(t *testing.T) {
			s, d := redistest.Shared(t), newDirectory()
			d.lax = lax
			var fleet []*accesscode.Codes
			for range 3 {
				c := newCodes(t, s.Client(), d)
				c.Draw(few)
				fleet = append(fleet, c)
			}
			for code, session := range race(t, fleet) {
				if got := resolve(t, fleet[0], code); got != session {
					t.Errorf("the code of %s leads to %q", session, got)
				}
			}
		})
	}
}

// Redis out for some: the directory alone keeps codes apart.
func TestNoTwoSessionsShareACodeInAnOutage(t *testing.T) {
	s, gone, d := redistest.Shared(t), redistest.Start(t), newDirectory()
	with, without := newCodes(t, s.Client(), d), newCodes(t, gone.Client(once), d)
	with.Draw(few)
	without.Draw(few)
	gone.Kill()
	for code, session := range race(t, []*accesscode.Codes{with, without}) {
		if got := resolve(t, with, code); got != session {
			t.Errorf("the code of %s leads to %q", session, got)
		}
	}
}

// The same without the reservation: whoever looks first and writes then shares.
func TestLookingBeforeWritingShares(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	var looked, done sync.WaitGroup
	looked.Add(2)
	got := make([]string, 2)
	for i := range got {
		done.Go(func() {
			_, err := rdb.Get(t.Context(), codeKey(t, "AAAAAA")).Result()
			looked.Done()
			looked.Wait()
			if errors.Is(err, redis.Nil) {
				got[i] = "AAAAAA"
				put(t, rdb, codeKey(t, "AAAAAA"), fmt.Sprintf("s%d", i))
			}
		})
	}
	done.Wait()
	if got[0] == "" || got[0] != got[1] {
		t.Errorf("%q: the naive way is not naive", got)
	}
}

// life gives, finds, and releases codes of sessions of its own until the context ends, and holds each
// answer: nobody else may interfere with them, whoever has which code before and after.
func life(ctx context.Context, t *testing.T, name string, fleet []*accesscode.Codes, owners *owners) {
	for i := 0; ctx.Err() == nil; i++ {
		session := fmt.Sprintf("%s-%d", name, i)
		one, other := fleet[rand.IntN(len(fleet))], fleet[rand.IntN(len(fleet))]
		code, err := one.Create(t.Context(), session)
		if errors.Is(err, accesscode.ErrExhausted) {
			continue
		}
		if err != nil {
			t.Errorf("create: %v", err)
			return
		}
		owners.take(t, code, session)
		for range 3 {
			if got, _, err := other.Resolve(t.Context(), code); err != nil || got != session {
				t.Errorf("the code of %s leads to %q, %v", session, got, err)
			}
			if again, err := other.Create(t.Context(), session); err != nil || again != code {
				t.Errorf("%s has %s and was given %q, %v", session, code, again, err)
			}
		}
		owners.give(code)
		if err := other.Release(t.Context(), session); err != nil {
			t.Errorf("release: %v", err)
			return
		}
		if got, _, err := one.Resolve(t.Context(), code); err != nil || got == session {
			t.Errorf("the released code of %s leads to %q, %v", session, got, err)
		}
	}
}

// owners are the codes that sessions have now.
type owners struct {
	mu    sync.Mutex
	codes map[string]string
	taken int
}

func (o *owners) take(t *testing.T, code, session string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if former := o.codes[code]; former != "" {
		t.Errorf("%s and %s share a code", former, session)
	}
	o.codes[code] = session
	o.taken++
}

func (o *owners) give(code string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.codes, code)
}

func (o *owners) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.taken
}

// live runs lives at once until stop is called, which waits for them.
func live(t *testing.T, fleet []*accesscode.Codes) (o *owners, stop func()) {
	t.Helper()
	for _, c := range fleet {
		c.Draw(few)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o = &owners{codes: make(map[string]string)}
	var work sync.WaitGroup
	for i := range fewCodes / 2 {
		work.Go(func() { life(ctx, t, fmt.Sprintf("life%d", i), slices.Clone(fleet), o) })
	}
	stop = sync.OnceFunc(func() {
		cancel()
		work.Wait()
	})
	t.Cleanup(stop)
	return o, stop
}

// Codes go from one session to the next all the time, between processes.
func TestCodesGoFromSessionToSession(t *testing.T) {
	s, d := redistest.Shared(t), newDirectory()
	fleet := []*accesscode.Codes{newCodes(t, s.Client(), d), newCodes(t, s.Client(), d)}
	o, stop := live(t, fleet)
	redistest.WaitFor(t, patient, func() bool { return o.count() >= 300 })
	stop()
}
