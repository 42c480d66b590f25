package live

import (
	"testing"

	"github.com/classwaves/rekey/classwaves/internal/beside"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/internal/redistest"
)

// BenchmarkPublish measures an event from Publish to a browser at another hub, beside a bare PUBLISH and its
// subscriber.
func BenchmarkPublish(b *testing.B) {
	s := redistest.Shared(b)
	rdb := s.Client()
	from, to := start(b, rdb, nil).ready(b), start(b, s.Client(), nil).ready(b)
	browser := to.join(b, "one")
	channel, err := keys.Events("bare", "one")
	if err != nil {
		b.Fatal(err)
	}
	bare := s.Client().Subscribe(b.Context(), channel)
	defer func() { _ = bare.Close() }() // read side
	if _, err := bare.Receive(b.Context()); err != nil {
		b.Fatal(err)
	}
	payload := map[string]int{"participants": 28, "activeGroups": 6}
	beside.Bare(b,
		func() error {
			from.publish(b, "one", "metrics", payload)
			browser.next()
			return nil
		},
		func() error {
			if err := rdb.Publish(b.Context(), channel, `{"participants":28,"activeGroups":6}`).Err(); err != nil {
				return err
			}
			_, err := bare.ReceiveMessage(b.Context())
			return err
		})
}
