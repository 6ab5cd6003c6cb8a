package stomp

import (
	"strconv"
	"strings"
	"time"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
)

const (
	minBeat    = 500                    // milliseconds: the shortest beat that is offered
	maxBeat    = int64(1) << 31         // milliseconds: longer wishes are cut to this
	beatMargin = 250 * time.Millisecond // a beat is that early, but for very short intervals
	never      = time.Duration(1e18)    // about thirty years
)

// beats are the heart-beats of both directions. [STOMP 1.2 Heart-beating]
type beats struct {
	offerOut, offerIn int64         // milliseconds, as in CONNECTED
	out               time.Duration // the server sends at least so often, 0 = never
	in                time.Duration // the client does
	wrote             time.Time     // last octet handed to the writer
}

// negotiate reads the client's heart-beat header, "" when absent. The offer
// mirrors the client's wish: go-stomp and others arm a timeout of their own by
// what they asked for, so an answer of 0 to a client that asked is never given.
func (b *beats) negotiate(header string) error {
	cx, cy := int64(0), int64(0)
	if header != "" {
		x, y, ok := strings.Cut(header, ",")
		var err1, err2 error
		cx, err1 = parseBeat(x)
		cy, err2 = parseBeat(y)
		if !ok || err1 != nil || err2 != nil {
			return invalid("Invalid heart-beat header:%s", header).titled(titleProcessing, "")
		}
	}
	b.offerOut, b.offerIn = floorBeat(cy), floorBeat(cx)
	b.in = interval(cx, b.offerIn)
	b.out = interval(cy, b.offerOut)
	return nil
}

func parseBeat(s string) (int64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 63)
	return min(int64(n), maxBeat), err
}

func floorBeat(n int64) int64 {
	if n == 0 {
		return 0
	}
	return max(n, minBeat)
}

// interval returns the agreed interval of one direction.
func interval(a, b int64) time.Duration {
	if a == 0 || b == 0 {
		return 0
	}
	return time.Duration(max(a, b)) * time.Millisecond
}

func (b *beats) appendOffer(dst []byte) []byte {
	dst = append(dst, "heart-beat:"...)
	dst = strconv.AppendInt(dst, b.offerOut, 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, b.offerIn, 10)
	return append(dst, '\n')
}

// untilOut returns how long it is until a beat must be sent. A beat goes out a
// tenth before the interval is over, or some more before a short one, so that it
// arrives in time also when the machine or the network is slow for a moment.
func (b *beats) untilOut(now time.Time) time.Duration {
	if b.out == 0 {
		return never
	}
	return b.out - max(b.out/10, min(b.out/2, beatMargin)) - now.Sub(b.wrote)
}

// untilDead returns how long it is until the client counts as gone: two
// intervals and a second after its last octet.
func (b *beats) untilDead(now, read time.Time) time.Duration {
	if b.in == 0 {
		return never
	}
	return 2*b.in + time.Second - now.Sub(read)
}

// appendBeat appends a heart-beat; it never lands inside a frame, because only
// whole frames are in dst.
func appendBeat(dst []byte) []byte { return append(dst, frame.End[1]) }
