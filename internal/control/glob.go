package control

// element is one place of a glob: the bytes that may stand there, or a star.
type element struct {
	star bool
	set  [256]bool
}

// elements reads a glob as Redis does.
func elements(glob string) (out []element) {
	one := func(c byte) (e element) { e.set[c] = true; return e }
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			out = append(out, element{star: true})
		case '?':
			var e element
			for b := range e.set {
				e.set[b] = true
			}
			out = append(out, e)
		case '\\':
			if i+1 < len(glob) {
				i++
			}
			out = append(out, one(glob[i]))
		case '[':
			var e element
			e, i = class(glob, i+1)
			out = append(out, e)
		default:
			out = append(out, one(c))
		}
	}
	return out
}

// class reads what is between brackets, from behind the first one, and gives the place of the last byte.
func class(glob string, i int) (e element, end int) {
	not := i < len(glob) && glob[i] == '^'
	if not {
		i++
	}
	for ; i < len(glob) && glob[i] != ']'; i++ {
		from := glob[i]
		if from == '\\' && i+1 < len(glob) {
			i++
			e.set[glob[i]] = true
			continue
		}
		to := from
		if i+2 < len(glob) && glob[i+1] == '-' {
			to = glob[i+2]
			i += 2
		}
		for b := int(min(from, to)); b <= int(max(from, to)); b++ {
			e.set[b] = true
		}
	}
	if not {
		for b := range e.set {
			e.set[b] = !e.set[b]
		}
	}
	return e, i
}

// globsMeet says whether there is a name that both globs match.
func globsMeet(a, b string) bool {
	x, y := elements(a), elements(b)
	// meets[j] says whether the rest of x from i and the rest of y from j have a name in common.
	meets := make([]bool, len(y)+1)
	for i := len(x); i >= 0; i-- {
		below := meets // of i+1
		meets = make([]bool, len(y)+1)
		for j := len(y); j >= 0; j-- {
			switch {
			case i == len(x) && j == len(y):
				meets[j] = true
			case i == len(x):
				meets[j] = y[j].star && meets[j+1]
			case j == len(y):
				meets[j] = x[i].star && below[j]
			case x[i].star:
				meets[j] = below[j] || meets[j+1] // it ends here, or takes what y has here
			case y[j].star:
				meets[j] = meets[j+1] || below[j]
			default:
				meets[j] = below[j+1] && share(&x[i], &y[j])
			}
		}
	}
	return meets[0]
}

func share(a, b *element) bool {
	for c := range a.set {
		if a.set[c] && b.set[c] {
			return true
		}
	}
	return false
}
