package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/internal/linetest"
)

// errDisk is what a node ends with whose disk fails.
var errDisk = fmt.Errorf("%w: input/output error", ErrRepair)

// runs plays nodes that serve for a while each and end with an error; the last one
// repeats. It is told to stop after a time. It returns the pauses before each but the
// first, and how it ended.
func runs(t *testing.T, stop time.Duration, log *linetest.Lines, served []time.Duration, errs []error) (pauses []time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stop)
	defer cancel()
	var last time.Time
	n := 0
	err = beginAgain(ctx, zerolog.New(log), func() (time.Duration, error) {
		if n > 0 {
			pauses = append(pauses, time.Since(last))
		}
		i := min(n, len(served)-1)
		n++
		<-time.After(served[i])
		last = time.Now()
		return served[i], errs[min(n, len(errs))-1]
	})
	return pauses, err
}

// A disk that fails for good had the node begin again without a pause, for ever.
func TestServe_GivesUpWhereADiskFailsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log linetest.Lines
		pauses, err := runs(t, time.Hour, &log, []time.Duration{0}, []error{errDisk})
		if !errors.Is(err, ErrGaveUp) || !errors.Is(err, ErrRepair) {
			t.Errorf("got %v, want %v", err, ErrGaveUp)
		}
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s}, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
		for text, want := range map[string]int{"node begins again": beginMost - 1, "node gives up": 1, "input/output error": beginMost} {
			if got := strings.Count(log.String(), text); got != want {
				t.Errorf("got %q %d times in the log, want %d:\n%s", text, got, want, log.String())
			}
		}
	})
}

// A node that served for a while begins again at once, however often that was before.
func TestServe_ServiceMakesGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log linetest.Lines
		served := []time.Duration{0, 0, 0, beginGood, 0}
		errs := []error{errDisk, errDisk, errDisk, errDisk, errDisk, errors.New("port in use")}
		pauses, err := runs(t, time.Hour, &log, served, errs)
		if err == nil || err.Error() != "port in use" {
			t.Errorf("got %v, want the error that no beginning mends", err)
		}
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, s, 2 * s, 0, s}, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
	})
}

func TestServe_StopsWhileItPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log linetest.Lines
		pauses, err := runs(t, 1500*time.Millisecond, &log, []time.Duration{0}, []error{errDisk})
		if err != nil || len(pauses) != 2 {
			t.Errorf("got %v after the pauses %v, want an end in order in the third", err, pauses)
		}
	})
}
