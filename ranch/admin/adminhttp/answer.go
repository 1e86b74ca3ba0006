package adminhttp

import (
	"encoding/json"
	"errors"
	"net/http"

	"goranch/protocol/shell"
)

// errorAnswer is the body of an answer that is an error. It has the form of the shell's in JSON.
type errorAnswer struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Message    string `json:"message"`
	Suggestion string `json:"suggestion,omitempty"`
	Code       string `json:"code,omitempty"`
}

func newErrorAnswer(err error) errorAnswer {
	var e *shell.Error
	if errors.As(err, &e) && err.Error() == e.Error() {
		return errorAnswer{errorBody{e.Message, e.Suggestion, e.Code}}
	}
	return errorAnswer{errorBody{Message: err.Error()}}
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, status int, err error) { writeJSON(w, status, newErrorAnswer(err)) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":{"message":"the answer cannot be encoded as JSON"}}`)
	}
	writeBody(w, status, "application/json", append(b, '\n'))
}

func writeBody(w http.ResponseWriter, status int, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	w.Write(b)
}

// statusOf returns the status of an answer with the error of a command.
func statusOf(err error) int {
	var e *shell.Error
	if !errors.As(err, &e) {
		return http.StatusInternalServerError
	}
	switch e.Code {
	case shell.CodeDenied:
		return http.StatusForbidden
	case shell.CodeUsage:
		return http.StatusBadRequest
	case shell.CodeUnknown:
		return http.StatusNotFound
	case shell.CodeCancelled:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}
