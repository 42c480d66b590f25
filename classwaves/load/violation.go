package load

// Kind is what a server did wrong.
type Kind string

// The kinds of violations. The package comment has what each breaks.
const (
	LostSession    Kind = "lost-session"
	RevivedSession Kind = "revived-session"
	FailedLogin    Kind = "failed-login"
	WrongLogin     Kind = "wrong-login"
	CSRFRefused    Kind = "csrf-refused"
	CSRFAccepted   Kind = "csrf-accepted"
	WrongClass     Kind = "wrong-class"
	LostCode       Kind = "lost-code"
	RevivedCode    Kind = "revived-code"
	ForeignSession Kind = "foreign-session"
	Stale          Kind = "stale"
	LimitExceeded  Kind = "limit-exceeded"
	LimitCut       Kind = "limit-cut"
	Limited        Kind = "limited"
	Miscounted     Kind = "miscounted"
	WentBack       Kind = "went-back"
	Unheard        Kind = "unheard"
	Unexpected     Kind = "unexpected"
	Broken         Kind = "broken"
	Unavailable    Kind = "unavailable"
)

// Example is one violation. It holds no identifier.
type Example struct {
	Kind Kind   `json:"kind"`
	At   string `json:"at"` // since the beginning
	What string `json:"what"`
}

// examplesPerKind bounds what a report keeps of each kind.
const examplesPerKind = 5
