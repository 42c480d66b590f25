package intercept

import (
	"time"

	"github.com/classwaves/rekey/internal/command"
)

// sample follows the commands of one write of the client to the ends of their replies. What was added to a
// command is how long the write was held up, and the bytes of the server with which its reply ended.
//
// A session follows one write at a time. To all others it is one comparison for each reply.
type sample struct {
	open     bool          // the write is being taken
	from, to uint64        // the entries of its commands, counted by queue.came; to is behind the last one
	came     time.Time     // when the bytes came that are being taken: the write, later those of the server
	held     time.Duration // how long the write was held up
	ended    []ruled       // commands whose replies have ended in the bytes that are being taken
}

// ruled is under what a command is counted.
type ruled struct {
	rule  int
	class command.Class
}

// maxEnded bounds the commands for which a connection keeps memory.
const maxEnded = 1024

// follow begins with a write that came then; zero: it is not measured.
func (s *Session) follow(came time.Time) {
	if !came.IsZero() && s.q.went >= s.sample.to {
		s.sample.open, s.sample.from, s.sample.to, s.sample.came = true, s.q.came, s.q.came, came
	}
}

// written ends the write that is being taken, if it is followed.
func (s *Session) written() {
	if s.sample.open {
		s.sample.end(s.q.came)
	}
}

func (m *sample) end(to uint64) { m.open, m.to, m.held = false, to, time.Since(m.came) }

// following says that replies to the write that is followed are still to come.
func (s *Session) following() bool { return s.q.went < s.sample.to }

// replied notes the entry at the front, whose reply has ended, if it is followed. That of a blocking command
// is not: it waits for something else.
func (s *Session) replied(e *entry) {
	if s.q.went >= s.sample.from && e.rule >= 0 && !e.block && int(e.class) < ruledClasses {
		s.sample.ended = append(s.sample.ended, ruled{e.rule, e.class})
	}
}

// given counts the commands whose replies have ended: their bytes go on to the client now.
func (s *Session) given() {
	if len(s.sample.ended) > 0 {
		s.sample.count(s.rules.Stats)
	}
}

func (m *sample) count(stats *Stats) {
	took := m.held + time.Since(m.came)
	for _, c := range m.ended {
		stats.Rules[c.rule].Added[c.class].add(took)
	}
	m.ended = m.ended[:0]
	if cap(m.ended) > maxEnded {
		m.ended = nil
	}
}
