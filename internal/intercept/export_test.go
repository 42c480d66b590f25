package intercept

// Measure has the nth call of the connection from now on measured, and none before.
func (c *Conn) Measure(nth int) { c.until.Store(int32(nth)) }

// Let takes a session for that of a client which the server takes without a login.
func (s *Session) Let() { s.sharing.let = true }

// Skew makes the link's count of the replies that belong to the last unit wrong. It says whether there is one.
func (l *Link) Skew(n int) bool {
	if l.units.size == 0 {
		return false
	}
	l.units.ring[(l.units.head+l.units.size-1)%len(l.units.ring)].replies += n
	return true
}
