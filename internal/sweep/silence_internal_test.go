package sweep

import (
	"net"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// A page counts as waiting where it is not taken, and where it is not answered, and then no more.
func TestAWireSaysThatItWaits(t *testing.T) {
	var noted waits
	near, far := net.Pipe()
	w := &wire{conn: near, timeout: time.Minute, waits: &noted, in: make([]byte, 64)}
	page := []command{{"A"}}
	ended := make(chan error, 2)
	for _, step := range []struct{ work, peer func() error }{
		{func() error { return w.send(page) }, func() error { _, err := far.Read(make([]byte, 64)); return err }},
		{func() error { return w.each(page, func(int, answer) error { return nil }) }, func() error { _, err := far.Write([]byte(":1\r\n")); return err }},
	} {
		go func() { ended <- step.work() }()
		redistest.WaitFor(t, 10*time.Second, func() bool { return noted.longest() > 0 })
		if err := step.peer(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil || noted.longest() != 0 {
			t.Errorf("%v, and somebody waits for %v", err, noted.longest())
		}
	}
}
