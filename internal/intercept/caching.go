package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/command"
)

// CLIENT CACHING speaks of the command behind it: the server forgets it with the end of the next one that is not about
// the client itself. A question of the session's own in front of that command would be the next one, so CLIENT CACHING
// is said again behind the question. Inside MULTI it lasts until EXEC, so what the engine makes of a command does not
// take it away.

// aboutClient notes what a subcommand of CLIENT that has passed leaves of CLIENT CACHING; before is what held for it.
func (s *Session) aboutClient(c *command.Command, args [][]byte, before string) {
	s.caching = before
	if c.Name != "client caching" {
		return
	}
	for _, word := range []string{"YES", "NO"} {
		if bytes.EqualFold(args[2], []byte(word)) {
			s.caching = word
		}
	}
}

// cachingAgain says CLIENT CACHING again, behind a question of the session's own.
func (s *Session) cachingAgain() {
	if s.caching == "" {
		return
	}
	e := s.q.push()
	e.kind, e.version, e.mute = kindDrop, Never, true
	s.send([]byte("CLIENT"), []byte("CACHING"), []byte(s.caching))
}
