package httpapi

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.yaml
var openAPI []byte

// description serves the OpenAPI description, which a test holds against the routes and against what
// they answer.
func (a *API) description(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI) // fails when the client is gone
	return nil
}
