package load

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

// prober spends a limit from one address, then goes on knocking, and counts.
type prober struct {
	g     *Generator
	p     Probe
	rng   *rand.Rand
	pause time.Duration // between two hits
}

// newProber makes one of a probe's users: the first is quick, so that it is shut out nearly all of the
// time; the last takes most of the play, so that its counter lives through all of it.
func (g *Generator) newProber(p Probe, probe, user int) *prober {
	// A window must not end in between.
	over := p.Window * 8 / 10
	switch {
	case p.Over > 0:
		over = min(over, p.Over)
	case g.c.Duration > 0:
		over = min(over, g.c.Duration*9/10)
	}
	share := float64(user+1) / float64(p.Users)
	return &prober{g: g, p: p, rng: g.random(1<<16 + probe<<8 + user), pause: time.Duration(share * float64(over) / float64(p.Points))}
}

// play spends the limit of one address after another.
func (p *prober) play(ctx context.Context, stop <-chan struct{}) {
	for p.spend(ctx, stop) {
	}
}

// budget is what is known of one address's points.
type budget struct {
	points         int
	passed, open   int // hits that passed; hits of which it is not known whether they were counted
	refused        bool
	window, block  time.Duration
	first, blocked time.Time // earliest begin of the window, earliest begin of the block
}

// verdict says what a hit's outcome breaks.
func (b *budget) verdict(passed bool) (Kind, bool) {
	switch {
	case passed && (b.refused || b.passed >= b.points):
		return LimitExceeded, true
	case !passed && b.passed+b.open < b.points:
		return LimitCut, true
	}
	return "", false
}

// margin is how far from the ends of windows and blocks nothing is asked.
const margin = 2 * time.Second

// known says whether the outcome of a hit that is over by then is known.
func (b *budget) known(then time.Time) bool {
	if b.refused {
		return then.Before(b.blocked.Add(b.block - margin))
	}
	return b.first.IsZero() || then.Before(b.first.Add(b.window-margin))
}

// spend is one address; false when the play is over.
func (p *prober) spend(ctx context.Context, stop <-chan struct{}) bool {
	b := p.g.newBrowser()
	b.stays = true
	defer b.close()
	budget := budget{points: p.p.Points, window: p.p.Window, block: p.p.Block}
	for {
		if !wait(stop, time.Duration(float64(p.pause)*(0.5+p.rng.Float64()))) || ctx.Err() != nil {
			return false
		}
		if !budget.known(time.Now().Add(margin)) {
			return true
		}
		begin := time.Now()
		a := p.hit(ctx, b)
		if !budget.known(time.Now()) {
			return true // it took so long that a window or a block may have ended
		}
		p.judge(ctx, &budget, begin, a)
	}
}

// judge takes the outcome of a hit.
func (p *prober) judge(ctx context.Context, budget *budget, begin time.Time, a answer) {
	if budget.first.IsZero() {
		budget.first = begin
	}
	limited := a.err == nil && a.status == http.StatusTooManyRequests
	if !limited && !p.g.decided(ctx, p.op(), a) {
		budget.open++
		return
	}
	if a.status != p.passedStatus() && !limited {
		p.g.unexpected(p.op(), a)
		budget.open++
		return
	}
	kind, wrong := budget.verdict(!limited)
	if wrong && !(kind == LimitExceeded && p.g.c.Faults) { // while Redis is away each process has a budget of its own
		p.g.record.violate(kind, "limit %s of %d: a hit was %s after %d that passed", p.p.Limit, budget.points,
			map[bool]string{true: "refused", false: "let through"}[limited], budget.passed)
	}
	if limited {
		if !budget.refused {
			budget.refused, budget.blocked = true, begin
			p.g.record.count(func(r *Report) { r.Spent++ })
		}
		if a.header.Get("Retry-After") == "" {
			p.g.record.violate(Unexpected, "%s: 429 without Retry-After", p.op())
		}
		return
	}
	budget.passed++
}

func (p *prober) op() string { return "spend limit " + p.p.Limit }

// passedStatus is the answer to a hit that passes the limit.
func (p *prober) passedStatus() int {
	if p.p.Limit == "auth" {
		return http.StatusUnauthorized
	}
	return http.StatusNotFound
}

// hit knocks with what leads nowhere.
func (p *prober) hit(ctx context.Context, b *browser) answer {
	q := request{op: p.op(), method: http.MethodPost, path: "/api/v1/join", body: map[string]string{"code": "000000", "name": "Nobody"}}
	if p.p.Limit == "auth" {
		q.path = "/api/v1/login"
		q.body = map[string]string{"email": "nobody@example.invalid", "password": "no password"}
	}
	return b.do(ctx, q)
}
