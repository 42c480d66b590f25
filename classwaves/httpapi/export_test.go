package httpapi

// RouteOf is what tests see of a route.
type RouteOf struct {
	Method, Pattern string
	Teacher, Unsafe bool
}

// Routes is the table of routes.
func Routes() (out []RouteOf) {
	for _, r := range new(API).routes() {
		out = append(out, RouteOf{r.method, r.pattern, r.teacher, unsafe(r.method)})
	}
	return out
}
