package difftest

// shrinkRuns bounds how often a failing sequence is run again.
const shrinkRuns = 600

// shrink removes steps from a failing sequence as long as it fails, in halves first and then one
// by one. A failure that does not come again leaves the sequence as it was.
func (w *world) shrink(s setting, steps []step, f *failure) ([]step, *failure) {
	runs := 0
	fails := func(steps []step) *failure {
		runs++
		f, err := w.runSequence(s, steps, newCounts())
		if err != nil {
			return nil
		}
		return f
	}
	if f.at < len(steps) {
		steps = steps[:f.at+1]
	}
	for size := (len(steps) + 1) / 2; size > 0 && runs < shrinkRuns; size /= 2 {
		for from := 0; from < len(steps) && runs < shrinkRuns; {
			to := min(from+size, len(steps))
			fewer := append(append([]step(nil), steps[:from]...), steps[to:]...)
			if again := fails(fewer); again != nil {
				steps, f = fewer, again
				if f.at < len(steps) {
					steps = steps[:f.at+1]
				}
			} else {
				from = to
			}
		}
	}
	return steps, f
}
