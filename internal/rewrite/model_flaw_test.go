package rewrite

func treatmentFlaws() []flaw { return nil }
func otherFlaws() []flaw     { return nil }
