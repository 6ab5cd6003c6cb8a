package gateway

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
)

const (
	logTime     = "2006-01-02T15:04:05.000Z07:00"
	consoleTime = "15:04:05.000"
)

// newLogger returns the node's logger: for people, or one JSON object a line.
func newLogger(w io.Writer, format, level string) (zerolog.Logger, error) {
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Nop(), err
	}
	if format == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: consoleTime, NoColor: !terminal(w)}
	}
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().Format(logTime))
	})
	return zerolog.New(w).Level(l).Hook(stamp), nil
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
