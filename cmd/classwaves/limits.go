package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/classwaves/httpapi"
	"github.com/classwaves/rekey/classwaves/ratelimit"
)

// setLimit reads NAME=POINTS/WINDOW/BLOCK into the limits.
func setLimit(into *httpapi.Limits, text string) error {
	limits := map[string]*ratelimit.Limit{"general": &into.General, "auth": &into.Auth, "write": &into.Write, "join": &into.Join}
	name, value, _ := strings.Cut(text, "=")
	limit, ok := limits[name]
	parts := strings.Split(value, "/")
	if !ok || len(parts) != 3 {
		return usage("--limit %q: write NAME=POINTS/WINDOW/BLOCK, with NAME general, auth, write or join", text)
	}
	points, err := strconv.Atoi(parts[0])
	if err != nil || points < 1 {
		return usage("--limit %q: points are a number from 1", text)
	}
	l := ratelimit.Limit{Name: name, Points: points}
	for i, d := range []*time.Duration{&l.Window, &l.Block} {
		if *d, err = time.ParseDuration(parts[i+1]); err != nil || *d < time.Millisecond {
			return usage("--limit %q: %q is no time such as 15m", text, parts[i+1])
		}
	}
	*limit = l
	return nil
}
