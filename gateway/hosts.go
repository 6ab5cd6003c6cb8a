package gateway

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// hostsEvery is the time between two looks at the hosts of the clients.
const hostsEvery = 10 * time.Second

// hosts ends connections with clients whose hosts have gone while they were sent
// something. The kernel repeats what is not acknowledged for a quarter of an hour, and
// sends no keep-alives meanwhile, so that a client which is not to speak either holds its
// messages, and memory, for that long. A client that is there and does not read is not
// meant: its host answers. TCP_USER_TIMEOUT would end that one too.
type hosts struct {
	conns   *conns
	after   time.Duration // without an acknowledgment
	metrics *metrics
	log     zerolog.Logger
}

// run looks at the hosts until ctx ends.
func (h *hosts) run(ctx context.Context) {
	for waited(ctx, hostsEvery) {
		h.look()
	}
}

func (h *hosts) look() {
	for cl, socket := range h.conns.sockets() {
		silent, asked := silence(socket)
		if !asked || silent < h.after {
			continue
		}
		h.metrics.vanished.Inc()
		h.log.Debug().Stringer("remote", socket.RemoteAddr()).Dur("silent", silent).Msg("client vanished")
		_ = cl.cut() // it is given up: nobody needs the reason
	}
}
