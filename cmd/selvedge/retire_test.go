package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
)

func TestRetire_ExitCodes(t *testing.T) {
	silent, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no step"))
	for _, c := range []struct {
		name string
		ctx  context.Context //nolint:containedctx // of the case
		err  error
		want int
	}{
		{"a refusal", t.Context(), &answerError{status: http.StatusConflict}, exitFailed},
		{"an unknown node", t.Context(), &answerError{status: http.StatusNotFound}, exitFailed},
		{"no quorum", t.Context(), fmt.Errorf("wrapped: %w", &answerError{status: http.StatusServiceUnavailable}), exitNoQuorum},
		{"a login is needed", t.Context(), &answerError{status: http.StatusUnauthorized}, exitUnreachable},
		{"nobody there", t.Context(), errors.New("connection refused"), exitUnreachable},
		{"silence", silent, context.Canceled, exitUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := exitCode(retireExit(c.ctx, c.err), &failing{}); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}
