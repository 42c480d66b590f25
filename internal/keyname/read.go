package keyname

import "bytes"

// span is where a variable's value lies in a name.
type span struct{ from, to int }

// reading is the values of a template's variables in one name. It is an array so that it stays on the stack.
type reading [maxVars]span

// Match reports whether name is one of the template's names. It does not allocate.
func (t *Template) Match(name []byte) bool {
	if len(t.vars) == 1 && t.inner == nil && !t.open { // most rules: what read does, without keeping it
		first, last := t.lits[0], t.lits[1]
		return len(name) > len(first)+len(last) && bytes.HasPrefix(name, first) && bytes.HasSuffix(name, last) &&
			(t.vars[0].kind == rest || bytes.IndexByte(name[len(first):len(name)-len(last)], ':') < 0)
	}
	var r reading
	if !t.read(name, &r) {
		return false
	}
	if t.inner == nil {
		return true
	}
	_, ok := t.unwrap(name, &r)
	return ok
}

// read finds the values of the variables in name. There is at most one reading; see the package comment for why
// one pass from each end finds it.
func (t *Template) read(name []byte, r *reading) bool {
	first := t.lits[0]
	if t.pivot < 0 {
		return bytes.Equal(name, first)
	}
	last := t.lits[len(t.vars)]
	if len(name) < len(first)+len(last) || !bytes.HasPrefix(name, first) || !bytes.HasSuffix(name, last) {
		return false
	}
	from, to := len(first), len(name)-len(last)
	for i := 0; i < t.pivot; i++ {
		lit := t.lits[i+1]
		colon := bytes.IndexByte(name[from:to], ':')
		if colon < 0 {
			return false
		}
		end := from + colon - bytes.IndexByte(lit, ':')
		if end <= from || !bytes.HasPrefix(name[end:to], lit) {
			return false
		}
		r[i] = span{from, end}
		from = end + len(lit)
	}
	for i := len(t.vars) - 1; i > t.pivot; i-- {
		lit := t.lits[i]
		colon := bytes.LastIndexByte(name[from:to], ':')
		if colon < 0 {
			return false
		}
		begin := from + colon + len(lit) - bytes.LastIndexByte(lit, ':')
		if begin >= to || !bytes.HasSuffix(name[from:begin], lit) {
			return false
		}
		r[i] = span{begin, to}
		to = begin - len(lit)
	}
	if from >= to {
		return false
	}
	r[t.pivot] = span{from, to}
	if t.vars[t.pivot].kind != rest && bytes.IndexByte(name[from:to], ':') >= 0 {
		return false
	}
	return !t.open || t.oneEnvironment(name, r)
}

// oneEnvironment checks the {env} variables of a template from [Template.AnyEnvironment]: each holds an environment's
// name, all the same.
func (t *Template) oneEnvironment(name []byte, r *reading) bool {
	var env []byte
	for i, v := range t.vars {
		if v.kind != environment {
			continue
		}
		got := name[r[i].from:r[i].to]
		if env == nil {
			env = got
		}
		if !bytes.Equal(env, got) {
			return false
		}
		for _, c := range got {
			if !envBytes.has(c) {
				return false
			}
		}
	}
	return true
}

// EnvironmentOf returns the environment that a name tells, for a template from [Template.AnyEnvironment].
func (t *Template) EnvironmentOf(name []byte) ([]byte, bool) {
	var r reading
	if !t.Match(name) || !t.read(name, &r) {
		return nil, false
	}
	for i, v := range t.vars {
		if v.kind == environment {
			return name[r[i].from:r[i].to], true
		}
	}
	return nil, false
}
