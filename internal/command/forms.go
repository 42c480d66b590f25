package command

import "bytes"

// forms are the commands whose words change what may be done with a call. A
// form is given the Use of the command's family and at least as many
// arguments as the command wants.
var forms = map[string]func(u Use, args [][]byte) Use{
	"set":               setForm,
	"setex":             setexForm,
	"psetex":            psetexForm,
	"mset":              msetForm,
	"msetex":            expiryForm,
	"getex":             getexForm,
	"hgetex":            hgetexForm,
	"hsetex":            expiryForm,
	"restore":           restoreForm,
	"restore-asking":    restoreForm,
	"bitfield":          bitfieldForm,
	"copy":              copyForm,
	"georadius":         georadiusForm,
	"georadiusbymember": georadiusbymemberForm,
	"geosearchstore":    geosearchstoreForm,
	"xadd":              xaddForm,
	"xtrim":             xtrimForm,
	"xread":             streamsForm,
	"xreadgroup":        streamsForm,
	"sort":              sortForm,
	"sort_ro":           sortForm,
	"blpop":             blockLast,
	"brpop":             blockLast,
	"blmove":            blockLast,
	"brpoplpush":        blockLast,
	"bzpopmin":          blockLast,
	"bzpopmax":          blockLast,
	"blmpop":            blockFirst,
	"bzmpop":            blockFirst,
	"debug":             debugForm,
	"object":            containerForm,
	"xgroup":            containerForm,
	"xinfo":             containerForm,
	"memory":            containerForm,
}

// The expiries up to which a call is taken for valid without asking: far beyond
// any use, and far below what a server refuses as an overflow.
const (
	maxSeconds      = 1 << 40
	maxMilliseconds = 1 << 50
)

func validExpiry(b []byte, most int64) bool {
	n, ok := parseInt(b)
	return ok && n > 0 && n <= most
}

// setForm: SET key value with at most one valid expiry overwrites. Conditions
// and KEEPTTL look at the old value, a word that nobody knows may do anything.
func setForm(u Use, args [][]byte) Use {
	overwrites, expiries := true, 0
	for i := 3; i < len(args); i++ {
		switch w := args[i]; {
		case foldEqual(w, "EX"), foldEqual(w, "PX"), foldEqual(w, "EXAT"), foldEqual(w, "PXAT"):
			u.RelativeTTL = u.RelativeTTL || len(w) == len("EX")
			most := int64(maxSeconds)
			if lower(w[0]) == 'p' {
				most = maxMilliseconds
			}
			i++
			expiries++
			overwrites = overwrites && expiries == 1 && i < len(args) && validExpiry(args[i], most)
		case foldEqual(w, "NX"), foldEqual(w, "XX"), foldEqual(w, "GET"), foldEqual(w, "KEEPTTL"):
			overwrites = false
		case foldEqual(w, "IFEQ"), foldEqual(w, "IFNE"), foldEqual(w, "IFDEQ"), foldEqual(w, "IFDNE"):
			i++
			overwrites = false
		default:
			u.Class = ClassRecopy
			u.RelativeTTL = true
			return u
		}
	}
	if overwrites {
		u.Class = ClassOverwrite
	}
	return u
}

func setexForm(u Use, args [][]byte) Use  { return setexpiry(u, args[2], maxSeconds) }
func psetexForm(u Use, args [][]byte) Use { return setexpiry(u, args[2], maxMilliseconds) }

func setexpiry(u Use, expiry []byte, most int64) Use {
	if validExpiry(expiry, most) {
		u.Class = ClassOverwrite
	}
	return u
}

// msetForm: an even number of arguments is an error, and then nothing is set.
func msetForm(u Use, args [][]byte) Use {
	if len(args)%2 == 1 {
		u.Class = ClassOverwrite
	}
	return u
}

// expiryForm looks for EX and PX anywhere: a value that happens to be one of
// them costs a little, an expiry that is overlooked would differ on the copy.
func expiryForm(u Use, args [][]byte) Use {
	u.RelativeTTL = hasWord(args[2:], "EX") || hasWord(args[2:], "PX")
	return u
}

func getexForm(u Use, args [][]byte) Use {
	if len(args) == 2 {
		u.Class = ClassRead
		return u
	}
	return expiryForm(u, args)
}

// hgetexForm: HGETEX key FIELDS n field ... alone leaves the expiries alone.
func hgetexForm(u Use, args [][]byte) Use {
	if foldEqual(args[2], "FIELDS") {
		if n, ok := parseInt(args[3]); ok && n == int64(len(args)-4) {
			u.Class = ClassRead
			return u
		}
	}
	return expiryForm(u, args)
}

func restoreForm(u Use, args [][]byte) Use {
	u.RelativeTTL = !(len(args[2]) == 1 && args[2][0] == '0') && !hasWord(args[4:], "ABSTTL")
	return u
}

// bitfieldForm: a BITFIELD of nothing but GET reads.
func bitfieldForm(u Use, args [][]byte) Use {
	for i := 2; i < len(args); {
		switch {
		case foldEqual(args[i], "GET"):
			i += 3
		case foldEqual(args[i], "OVERFLOW"):
			i += 2
		default:
			return u
		}
	}
	u.Class = ClassRead
	return u
}

// copyForm: DB without a number behind it is answered with an error.
func copyForm(u Use, args [][]byte) Use {
	for i := 3; i+1 < len(args); i++ {
		if _, number := parseInt(args[i+1]); number && foldEqual(args[i], "DB") {
			u.Class = ClassRefuse
			u.Reason = "it takes a key between databases, and the rules may not hold in both"
		}
	}
	return u
}

func georadiusForm(u Use, args [][]byte) Use         { return geostore(u, args[6:]) }
func georadiusbymemberForm(u Use, args [][]byte) Use { return geostore(u, args[5:]) }

func geostore(u Use, words [][]byte) Use {
	if !hasWord(words, "STORE") && !hasWord(words, "STOREDIST") {
		u.Class = ClassRead
		return u
	}
	return anyIsOpen(u, words)
}

func geosearchstoreForm(u Use, args [][]byte) Use { return anyIsOpen(u, args[3:]) }

// anyIsOpen: COUNT n ANY stops at the first matches, and which those are is
// the server's business.
func anyIsOpen(u Use, words [][]byte) Use {
	if hasWord(words, "ANY") {
		u.Class = ClassRecopy
	}
	return u
}

// xaddForm: an id that the server makes is an effect, and so is trimming "about" a
// length, which depends on how the entries lie in memory. Trimming by references looks at
// the groups of the stream, and which entries it left is not in the reply.
func xaddForm(u Use, args [][]byte) Use {
	about, effect := false, ClassEffect
	for i := 2; i < len(args); i++ {
		switch w := args[i]; {
		case foldEqual(w, "MAXLEN"), foldEqual(w, "MINID"):
			about = about || i+1 < len(args) && isByte(args[i+1], '~')
			if i+1 < len(args) && (isByte(args[i+1], '=') || isByte(args[i+1], '~')) {
				i++
			}
			i++ // the threshold
		case foldEqual(w, "LIMIT"):
			i++
		case foldEqual(w, "NOMKSTREAM"), foldEqual(w, "KEEPREF"):
		case foldEqual(w, "DELREF"), foldEqual(w, "ACKED"):
			effect = ClassRecopy
		case isByte(w, '*'), partialID(w):
			u.Class = effect
			return u
		case exactID(w):
			if about {
				u.Class = effect
			}
			return u
		default:
			u.Class = ClassRecopy // an option of a later server, or an error
			return u
		}
	}
	return u
}

func xtrimForm(u Use, args [][]byte) Use {
	exact := foldEqual(args[2], "MAXLEN") || foldEqual(args[2], "MINID")
	if !exact || isByte(args[3], '~') {
		u.Class = ClassRecopy
	}
	return u
}

// partialID: "5-*", the sequence number is the server's.
func partialID(b []byte) bool {
	ms, found := bytes.CutSuffix(b, []byte("-*"))
	return found && digits(ms)
}

// exactID: "5-1" or "5".
func exactID(b []byte) bool {
	ms, seq, found := bytes.Cut(b, []byte("-"))
	return digits(ms) && (!found || digits(seq))
}

// streamsForm finds the BLOCK of XREAD and XREADGROUP.
func streamsForm(u Use, args [][]byte) Use {
	if _, block := streams(args); block > 0 {
		u.Block, u.BlockMillis = block, true
	}
	return u
}

// sortForm: BY and GET make names from the elements. A pattern without '*' is
// none: BY nosort keeps the order as it is, GET of it gives nil, and "#" is the
// element itself.
func sortForm(u Use, args [][]byte) Use {
	o := sortOptions(args)
	switch {
	case o.patterns > 0:
		u.Class = ClassRefuse
		u.Reason = "BY and GET read keys whose names the server makes from the elements"
		u.Patterns = o.appendPatterns(make([][]byte, 0, o.patterns), args)
	case o.store == 0:
		u.Class = ClassRead
	}
	return u
}

func blockLast(u Use, args [][]byte) Use {
	u.Block = len(args) - 1
	return u
}
func blockFirst(u Use, _ [][]byte) Use {
	u.Block = 1
	return u
}

// debugForm: a few subcommands inspect keys, two make keys nobody named.
func debugForm(u Use, args [][]byte) Use {
	switch {
	case debugKeys(args) > 0:
		u.Class = ClassRead
	case foldEqual(args[1], "POPULATE"), foldEqual(args[1], "REPLICATE"):
		u.Class = ClassRefuse
		u.Reason = "it writes keys that it does not name"
	}
	return u
}

// containerForm: a container alone gets the server's own error.
func containerForm(u Use, args [][]byte) Use {
	if len(args) < 2 {
		u.Class = ClassNone
	}
	return u
}

func hasWord(args [][]byte, word string) bool {
	for _, a := range args {
		if foldEqual(a, word) {
			return true
		}
	}
	return false
}

func isByte(b []byte, c byte) bool { return len(b) == 1 && b[0] == c }

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
