package gateway

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

const lineWrite = 10 * time.Second // for the asker to take a line

// lines is an answer of JSON values, one a line, that grows until its handler ends.
type lines struct {
	w     http.ResponseWriter
	out   *http.ResponseController
	begun bool // nothing else can be answered any more
}

func newLines(w http.ResponseWriter) *lines { return &lines{w: w, out: http.NewResponseController(w)} }

// begin sends the header of the answer, which the first line does else.
func (l *lines) begin() error {
	l.begun = true
	l.w.Header().Set("Content-Type", api.ContentTypeLines)
	l.w.Header().Set("Cache-Control", "no-store")
	l.w.Header().Set("X-Content-Type-Options", "nosniff")
	l.w.WriteHeader(http.StatusOK)
	return l.out.Flush()
}

// write sends a line. An error means that the asker has left, or is too slow.
func (l *lines) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		panic("gateway: a line cannot be encoded: " + err.Error())
	}
	if !l.begun {
		if err := l.begin(); err != nil {
			return err
		}
	}
	if err := l.out.SetWriteDeadline(time.Now().Add(lineWrite)); err != nil {
		return err
	}
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return err
	}
	return l.out.Flush()
}
