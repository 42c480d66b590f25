package accesscode_test

import (
	"runtime"
	"sync"
	"testing"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/internal/redistest"
)

// pauseAt stops the caller at its n-th query of a kind, before or after the directory has answered, until
// the returned function is called. Everybody else passes.
func (d *directory) pauseAt(t *testing.T, op string, n int, after bool) (reached <-chan struct{}, resume func()) {
	at, gate := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	seen := 0
	hook := func(name string) {
		mu.Lock()
		if name == op {
			seen++
		}
		stop := name == op && seen == n
		mu.Unlock()
		if stop {
			close(at)
			<-gate
		}
	}
	d.set(func(d *directory) {
		if after {
			d.after = hook
		} else {
			d.before = hook
		}
	})
	open := sync.OnceFunc(func() {
		close(gate)
		d.set(func(d *directory) { d.before, d.after = nil, nil })
	})
	t.Cleanup(open)
	return at, open
}

// A reader that repairs is held up at each of its steps, while its code goes from s1 to s2. Whatever it
// does afterwards, the code leads to s2.
func TestLateRepairDoesNotBringTheFormerSessionBack(t *testing.T) {
	const code = "AAAAAA"
	for name, at := range map[string]struct {
		query int
		after bool
	}{
		"first answer is old":            {1, true},
		"before the second look":         {2, false},
		"between second look and commit": {2, true},
	} {
		for _, evicted := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", keys evicted"}[evicted], func(t *testing.T) {
				s, d := redistest.Shared(t), newDirectory()
				rdb := s.Client()
				d.codes["s1"] = code
				late, quick := newCodes(t, s.Client(), d), newCodes(t, s.Client(), d)
				quick.Draw(inTurn(code))
				reached, resume := d.pauseAt(t, "SessionOfCode", at.query, at.after)
				done := make(chan struct{})
				go func() {
					defer close(done)
					// It was asked while the code was s1's: s1 is a right answer, s2 is one too.
					if got, _, err := late.Resolve(t.Context(), code); err != nil || got != "s1" {
						t.Errorf("the late reader got %q, %v", got, err)
					}
				}()
				<-reached
				release(t, quick, "s1")
				if got := create(t, quick, "s2"); got != code {
					t.Fatalf("s2 was given %q", got)
				}
				if evicted { // or expired: then no key says no to the late one
					rdb.Del(t.Context(), codeKey(t, code), sessionKey(t, "s2"))
				}
				resume()
				<-done
				for range 2 {
					if got := resolve(t, quick, code); got != "s2" {
						t.Errorf("the code leads to %q, want s2", got)
					}
				}
				wantPair(t, rdb, "s2", code)
				if got := held(t, rdb, sessionKey(t, "s1")); got != "" {
					t.Errorf("the former session still holds %q", got)
				}
			})
		}
	}
}

// The same without the reservation: a reader that writes what the directory told it a moment ago.
func TestRepairOfAMomentAgoLeadsAstray(t *testing.T) {
	const code = "AAAAAA"
	s, d := redistest.Shared(t), newDirectory()
	rdb := s.Client()
	d.codes["s1"] = code
	c := newCodes(t, rdb, d)
	c.Draw(inTurn(code))
	session, _, err := d.SessionOfCode(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	release(t, c, "s1")
	create(t, c, "s2")
	put(t, rdb, codeKey(t, code), session)
	put(t, rdb, sessionKey(t, session), code)
	if got := resolve(t, c, code); got != "s1" {
		t.Errorf("the naive repair leads to %q: it is not naive", got)
	}
}

// While a repair is half done nobody believes its half.
func TestReservationIsNotBelieved(t *testing.T) {
	const code = "AAAAAA"
	s, d := redistest.Shared(t), newDirectory()
	d.codes["s1"] = code
	late, quick := newCodes(t, s.Client(), d), newCodes(t, s.Client(), d)
	reached, resume := d.pauseAt(t, "SessionOfCode", 2, false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = late.Resolve(t.Context(), code) // what it answers is another test's
	}()
	<-reached
	d.set(func(d *directory) { d.codes = map[string]string{"s2": code} })
	if got := resolve(t, quick, code); got != "s2" {
		t.Errorf("the code leads to %q, want s2", got)
	}
	resume()
	<-done
	wantPair(t, s.Client(), "s2", code)
}

// A process ends at each step of giving out a code. Nobody gets that code twice, the session gets one,
// and nothing is left that is believed.
func TestCrashWhileCreating(t *testing.T) {
	for name, at := range map[string]struct {
		op    string
		n     int
		after bool
		given bool // the directory has it
	}{
		"before the reservation":      {"CodeOfSession", 1, true, false},
		"reserved":                    {"SetCode", 1, false, false},
		"given out by the directory":  {"SetCode", 1, true, true},
		"before the pair was written": {"CodeOfSession", 2, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := redistest.Shared(t), newDirectory()
			rdb := s.Client()
			crashing, other := newCodes(t, s.Client(), d), newCodes(t, s.Client(), d)
			crashing.Draw(inTurn("AAAAAA"))
			other.Draw(inTurn("AAAAAA", "CCCCCC", "DDDDDD"))
			d.crashAt(at.op, at.n, at.after)
			done := make(chan struct{})
			go func() {
				defer close(done)
				code, err := crashing.Create(t.Context(), "s1")
				t.Errorf("it went on: %q, %v", code, err)
			}()
			<-done

			if left := rdb.PTTL(t.Context(), codeKey(t, "AAAAAA")).Val(); left > accesscode.ReserveFor {
				t.Errorf("the reservation lives %v", left)
			}
			want := map[bool]string{true: "s1"}[at.given]
			if got := resolve(t, other, "AAAAAA"); got != want {
				t.Errorf("the code leads to %q, want %q", got, want)
			}
			second := create(t, other, "s2")
			first := create(t, other, "s1")
			if first == second {
				t.Fatalf("both sessions have %q", first)
			}
			if at.given && first != "AAAAAA" {
				t.Errorf("the session lost its code for %q", first)
			}
			for session, code := range map[string]string{"s1": first, "s2": second} {
				wantPair(t, rdb, session, code)
				if got := resolve(t, other, code); got != session {
					t.Errorf("the code of %s leads to %q", session, got)
				}
			}
		})
	}
}

// And at each step of releasing one: the code stays the session's, or nobody's.
func TestCrashWhileReleasing(t *testing.T) {
	for name, at := range map[string]struct {
		op    string
		after bool
		freed bool
	}{
		"before Redis forgot":  {"CodeOfSession", true, false},
		"after Redis forgot":   {"ReleaseCode", false, false},
		"after it became free": {"ReleaseCode", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := redistest.Shared(t), newDirectory()
			crashing, other := newCodes(t, s.Client(), d), newCodes(t, s.Client(), d)
			other.Draw(inTurn("AAAAAA", "CCCCCC"))
			create(t, other, "s1")
			d.crashAt(at.op, 1, at.after)
			done := make(chan struct{})
			go func() {
				defer close(done)
				t.Errorf("it went on: %v", crashing.Release(t.Context(), "s1"))
			}()
			<-done

			want := "s1"
			if at.freed {
				want = ""
			}
			if got := resolve(t, other, "AAAAAA"); got != want {
				t.Errorf("the code leads to %q, want %q", got, want)
			}
			release(t, other, "s1")
			if got := resolve(t, other, "AAAAAA"); got != "" {
				t.Errorf("after the second try the code leads to %q", got)
			}
			other.Draw(inTurn("AAAAAA"))
			if got := create(t, other, "s2"); got != "AAAAAA" {
				t.Errorf("the code is not free: %q", got)
			}
			if got := resolve(t, other, "AAAAAA"); got != "s2" {
				t.Errorf("the code leads to %q, want s2", got)
			}
		})
	}
}

// crashAt ends the goroutine that makes the n-th query of a kind: what follows it never happens.
func (d *directory) crashAt(op string, n int, after bool) {
	seen := 0
	hook := func(name string) {
		if name == op {
			seen++
		}
		if name == op && seen == n {
			d.set(func(d *directory) { d.before, d.after = nil, nil })
			runtime.Goexit()
		}
	}
	d.set(func(d *directory) {
		if after {
			d.after = hook
		} else {
			d.before = hook
		}
	})
}

// A reader comes between the two steps of a release: the directory still says s1, and the reader writes
// the pair that Redis had just forgotten.
func TestReaderDuringARelease(t *testing.T) {
	const code = "AAAAAA"
	s, d := redistest.Shared(t), newDirectory()
	rdb := s.Client()
	releasing, reading := newCodes(t, s.Client(), d), newCodes(t, s.Client(), d)
	releasing.Draw(inTurn(code))
	create(t, releasing, "s1")
	reached, resume := d.pauseAt(t, "ReleaseCode", 1, false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := releasing.Release(t.Context(), "s1"); err != nil {
			t.Error(err)
		}
	}()
	<-reached
	wantNone(t, rdb, "s1", code)
	if got := resolve(t, reading, code); got != "s1" {
		t.Errorf("before it is free the code leads to %q", got)
	}
	wantPair(t, rdb, "s1", code)
	resume()
	<-done
	wantNone(t, rdb, "s1", code)
	if got := resolve(t, reading, code); got != "" {
		t.Errorf("the released code leads to %q", got)
	}
}
