package intercept

import "github.com/classwaves/rekey/internal/resp"

// admission is how far the instance has been asked whether the connection may carry
// commands.
//
// The session asks after it has learned the connection's CLIENT ID, and stays stalled
// until it is told. Where the server wants a login it tells no number before: then only
// commands that log in are sent, and the others have the server's refusal.

// AdmissionDue says that the session waits to be admitted.
func (s *Session) AdmissionDue() (id int64, due bool) { return s.id, s.admitting }

// Admitted lets the session go on, or ends it: the first command is answered with the
// reason.
func (s *Session) Admitted(reason error) error {
	if !s.admitting {
		return s.err
	}
	s.admitting, s.admission = false, false // once is enough
	s.unstall()
	if reason != nil {
		s.emit(resp.AppendError(nil, reason.Error()), false)
		s.err = reason
		return s.err
	}
	s.table = s.rules.Table()
	s.joined()
	s.pump()
	return s.err
}

// learnedAll ends the asking of the server. One that wants a login first has told nothing: it is asked again in front of
// the next command.
func (s *Session) learnedAll() {
	if s.locked != nil {
		s.learned, s.askedID = false, false
		s.unstall()
		s.joined()
		return
	}
	if s.admission && !s.sentinel {
		s.admitting = true
		return
	}
	s.admission = false
	s.unstall()
	s.joined()
}
