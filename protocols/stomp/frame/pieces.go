package frame

import "bytes"

// pieces reports whether a body of so many octets comes in pieces.
func (p *parser) pieces(octets int) bool {
	return p.command == Send && p.limits.Whole > 0 && octets > p.limits.Whole
}

// mostBody is how large a body of the current frame may be.
func (p *parser) mostBody() int {
	if p.command != Send && p.limits.Whole > 0 {
		return min(p.limits.Whole, p.limits.Body)
	}
	return p.limits.Body
}

// piece adds what has come of a body that is too large for one frame: the first time
// with the headers, then alone, at last with the end of the frame, however it arrives. Without a length
// the end is where the NUL is, which may have come already.
func (p *parser) piece(b *Batch) (bool, error) {
	at, end, over := p.pos, len(b.buf), false
	if left := p.length - p.passed; p.length >= 0 {
		if over = end-at > left; over {
			end = at + left
		}
		if over && b.buf[end] != 0 {
			return false, &SyntaxError{Reason: "there is no NUL octet after content-length octets of body"}
		}
	} else if i := bytes.IndexByte(b.buf[p.scan:], 0); i >= 0 {
		end, over = p.scan+i, true
	}
	if p.passed+end-at > p.limits.Body {
		return false, tooBig("data length", "a body has at most % octets", p.limits.Body)
	}
	first := p.stage != stagePieces
	if first { // the end comes in a frame of its own, so that none has a body which is too large
		over = false
	}
	if end == at && !over && !first {
		return false, nil
	}
	if first {
		p.add(b, end)
	} else {
		b.Frames = append(b.Frames, Frame{Command: p.command, Body: b.buf[at:end:end], Continued: true})
	}
	b.Frames[len(b.Frames)-1].More = !over
	p.passed += end - at
	if over {
		p.pass(b, end+1)
		p.reset()
		return true, nil
	}
	p.pass(b, end)
	p.stage = stagePieces
	return true, nil
}
