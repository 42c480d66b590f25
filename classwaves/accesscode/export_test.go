package accesscode

// Draw makes codes of a test's own choice.
func (c *Codes) Draw(draw func() string) { c.draw = draw }

// Generate is how codes are drawn otherwise.
var Generate = generate
