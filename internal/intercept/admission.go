package intercept

import "github.com/classwaves/rekey/internal/resp"

// admission is how far the instance has been asked whether the connection may carry
// commands.
//
// The session asks after it has learned the connection's CLIENT ID, and stays stalled
// until it is told.

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

// learnedAll ends the asking of the server.
func (s *Session) learnedAll() {
	if s.admission {
		s.admitting = true
		return
	}
	s.unstall()
	s.joined()
}
