package sweep

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// The answers of two pages come in pieces of every size. An error that a job makes of one ends the page, but all answers of the
// page are read, so that those of the next one are its own.
func TestWireKeepsPagesApart(t *testing.T) {
	const buffer = 64 // as it is at first; it grows for the long answer
	long := strings.Repeat("x", 500)
	stream := ":7\r\n-OOM no room\r\n$3\r\na\r\n\r\n$-1\r\n" + "+OK\r\n$500\r\n" + long + "\r\n:-1\r\n"
	first := []command{{"A"}, {"B"}, {"C"}, {"D"}}
	second := []command{{"E"}, {"F"}, {"G", "1", 2, int64(3)}}
	for _, size := range []int{1, 2, 3, 7, 100, len(stream)} {
		near, far := net.Pipe()
		w := &wire{conn: near, timeout: 10 * time.Second, in: make([]byte, buffer)}
		sent := make(chan string, 1)
		go func() {
			got := make([]byte, 0, 1024)
			for len(got) < len("*1\r\n$1\r\nA\r\n")*6+len("*4\r\n$1\r\nG\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n") {
				piece := make([]byte, 1024)
				n, err := far.Read(piece)
				if err != nil {
					break
				}
				got = append(got, piece[:n]...)
			}
			sent <- string(got)
			for rest := stream; rest != ""; {
				n, err := far.Write([]byte(rest[:min(size, len(rest))]))
				if err != nil {
					return // the test has failed
				}
				rest = rest[n:]
			}
		}()
		if err := errors.Join(w.send(first), w.send(second)); err != nil {
			t.Fatal(err)
		}
		if got := <-sent; !strings.HasSuffix(got, "*1\r\n$1\r\nF\r\n*4\r\n$1\r\nG\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n") {
			t.Fatalf("sent %q", got)
		}
		enough := errors.New("enough")
		err := w.each(first, func(i int, a answer) error {
			switch {
			case i == 0 && a.n == 7:
				return nil
			case i == 1 && code(a.err) == "OOM" && a.err.Error() == "OOM no room":
				return enough
			}
			t.Errorf("in pieces of %d: answer %d is %+v", size, i, a)
			return nil
		})
		if !errors.Is(err, enough) || w.owing != len(second) {
			t.Errorf("in pieces of %d: %v, and %d answers to come", size, err, w.owing)
		}
		err = w.each(second, func(i int, a answer) error {
			if ok := i == 0 && string(a.text) == "OK" || i == 1 && string(a.text) == long || i == 2 && a.n == -1; !ok {
				t.Errorf("in pieces of %d: answer %d of the second page is %+v", size, i, a)
			}
			return nil
		})
		if err != nil || w.owing != 0 {
			t.Errorf("in pieces of %d: %v, and %d answers to come", size, err, w.owing)
		}
		_ = far.Close()
		if _, err := w.receive(); err == nil {
			t.Error("a closed connection gave an answer")
		}
		_ = near.Close()
	}
}

// brokenConn has some answers in its buffer still, and takes so many writes before it is lost.
type brokenConn struct {
	net.Conn
	answers *strings.Reader
	writes  int
}

func (c *brokenConn) SetDeadline(time.Time) error      { return nil }
func (c *brokenConn) Read(p []byte) (n int, err error) { return c.answers.Read(p) }
func (c *brokenConn) Write(p []byte) (int, error) {
	if c.writes--; c.writes < 0 {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// A page of verify that cannot be sent whole reads nothing: the answers that come first are those of the page before.
func TestPageThatCannotBeSentReadsNothing(t *testing.T) {
	w := &wire{conn: &brokenConn{answers: strings.NewReader("$6\r\nbefore\r\n"), writes: 2}, in: make([]byte, 64)}
	before := []command{{"GETRANGE", "thing:0", 0, 9}}
	if err := w.send(before); err != nil {
		t.Fatal(err)
	}
	j := &verify{run: &run{}, traits: traits{expiry: "PEXPIRETIME"}}
	keys := []key{{legacy: "thing:1", target: "cw:thing:1"}, {legacy: "thing:2", target: "cw:thing:2", found: targetSide}}
	if _, err := j.compareBoth(t.Context(), &link{pages: w}, keys); !silent(err) {
		t.Errorf("got %v, want no answer", err)
	}
	err := w.each(before, func(_ int, a answer) error {
		if string(a.text) != "before" {
			t.Errorf("the page before got %+v", a)
		}
		return nil
	})
	if err != nil {
		t.Errorf("the page before: %v", err)
	}
}

func TestTimeless(t *testing.T) {
	info := "# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0\r\ndb1:keys=5,expires=1,avg_ttl=9\r\ndb10:keys=5,expires=0,avg_ttl=0,subexpiry=0\r\n"
	for database, want := range map[int]bool{0: true, 1: false, 10: true, 2: false} {
		if got := timeless(info, database); got != want {
			t.Errorf("database %d: %v", database, got)
		}
	}
	if timeless("", 0) || timeless("db0:keys=1,expires=00", 0) {
		t.Error("what is not said was taken for none")
	}
}
