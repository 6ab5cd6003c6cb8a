package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
)

// How often a node begins again in the same process. What was damaged is repaired by
// one beginning; a disk that fails for good fails each of them.
const (
	beginMost  = 8                // in a row, none of which served for beginGood
	beginGood  = time.Minute      // of service: what went wrong is over
	beginPause = time.Second      // before the second one in a row, then twice as long
	beginRest  = 30 * time.Second // the longest pause
)

// ErrGaveUp says that a node could not go on however often it began again.
var ErrGaveUp = errors.New("the node fails again and again")

// Serve runs a node until ctx ends. When its storage fails, or is found damaged, a
// new one begins on the same folder, which repairs it: at once, and with growing
// pauses while that does not help. After eight in a row it gives up with [ErrGaveUp].
func Serve(ctx context.Context, o Options) error {
	log, err := newLogger(o.Err, o.Config.LogFormat, o.Config.LogLevel)
	if err != nil {
		return err
	}
	return beginAgain(ctx, log.With().Str("node", o.Config.Node).Logger(), func() (served time.Duration, err error) {
		n, err := New(o)
		if err != nil {
			return 0, err
		}
		err = n.Run(ctx)
		return n.served(), err
	})
}

// beginAgain calls run until it ends for good. run says for how long it served.
func beginAgain(ctx context.Context, log zerolog.Logger, run func() (served time.Duration, err error)) error {
	failed, pause := 0, time.Duration(0)
	for {
		served, err := run()
		if !errors.Is(err, ErrRepair) || ctx.Err() != nil {
			return err
		}
		if served >= beginGood {
			failed, pause = 0, 0
		}
		if failed++; failed >= beginMost {
			log.Error().Err(err).Int("times", failed).Msg("node gives up: look at its disk")
			return fmt.Errorf("%w, %d times in a row: look at its disk: %w", ErrGaveUp, failed, err)
		}
		log.Warn().Err(err).Int("times", failed).Int("of", beginMost).Dur("pause", pause).Msg("node begins again")
		if !waited(ctx, pause) {
			return nil // told to stop
		}
		pause = min(max(2*pause, beginPause), beginRest)
	}
}

// waited waits for d. It reports false if ctx ended first.
func waited(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// served returns for how long the node has taken clients.
func (n *Node) served() time.Duration {
	if n.ready.IsZero() {
		return 0
	}
	return time.Since(n.ready)
}
