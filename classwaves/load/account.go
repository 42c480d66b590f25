package load

import (
	"slices"
	"time"
)

// login is one login of a teacher.
type login struct {
	*browser
	cookie string // the browser may have another one by now
	token  string // CSRF
	at     time.Time
	ended  string // how it was ended, once it is
	over   time.Time
}

// account is what must be true of a teacher's logins: those that live, the oldest first, and some of
// those that do not any more.
type account struct {
	max   int
	live  []*login
	ended []*login
}

// endedMax bounds the ended logins that are remembered.
const endedMax = 24

// opened notes a login; it displaces the oldest ones beyond the limit.
func (a *account) opened(l *login) {
	a.live = append(a.live, l)
	for len(a.live) > a.max {
		a.close(a.live[0], "displaced by later ones")
	}
}

// close notes that a login has ended.
func (a *account) close(l *login, how string) {
	a.drop(l)
	l.ended, l.over = how, time.Now()
	a.ended = append(a.ended, l)
	if len(a.ended) > endedMax {
		a.ended[0].browser.close()
		a.ended = a.ended[1:]
	}
}

// closeAll notes that all have ended; it gives how many there were.
func (a *account) closeAll(how string) (n int) {
	n = len(a.live)
	for _, l := range slices.Clone(a.live) {
		a.close(l, how)
	}
	return n
}

// drop forgets a login of which nothing is known any more.
func (a *account) drop(l *login) {
	is := func(other *login) bool { return other == l }
	a.live = slices.DeleteFunc(a.live, is)
	a.ended = slices.DeleteFunc(a.ended, is)
}
