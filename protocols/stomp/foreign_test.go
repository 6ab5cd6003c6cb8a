package stomp

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/selvedge-mq/selvedge/integration/interop/stompscript"
)

// The clients of other projects, over every version that they speak, with a
// broker that has transactions and temporary destinations.
func TestForeignClients(t *testing.T) {
	for _, c := range stompscript.Clients() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if why := c.Missing(t.Context(), stompscript.Way{}); why != "" {
				t.Skip(why)
			}
			var wg sync.WaitGroup // and not t.Parallel: they wait for heart-beats, most of the time
			for _, version := range c.Versions {
				wg.Go(func() { t.Run(version, func(t *testing.T) { speak(t, c, version) }) })
			}
			wg.Wait()
		})
	}
}

func speak(t *testing.T, c stompscript.Client, version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := stompscript.Way{Addrs: []string{listen(t, newBroker(t))}, Version: version, DeadLetters: "DLQ"}
	failed, err := c.Run(ctx, w, c.Features(version))
	if err != nil {
		t.Fatal(err)
	}
	for feature, why := range failed {
		t.Errorf("%s: %s", feature, why)
	}
}
