package frame

import "bytes"

type stage uint8

const (
	stageBetween stage = iota // before a frame
	stageCommand
	stageHeaders
	stageBody
	stagePieces // in a body of which a part was handed out
)

// parser finds frames in a growing buffer. It remembers how far it has looked,
// so that no octet is looked at again when more arrive.
type parser struct {
	version Version
	limits  Limits // in force
	section int    // octets of a frame's header lines together

	stage   stage
	start   int // of the current frame
	pos     int // of the current line, or of the body
	scan    int // first octet not looked at yet
	first   int // the current frame's first span
	command Command
	nameEnd int // relative to start, as all that follow
	length  int // content-length, -1 without
	passed  int // octets of a body in pieces that were handed out
}

func (p *parser) reset() {
	p.stage, p.length, p.passed = stageBetween, -1, 0
}

// moved says that the octets and spans before the current frame are gone.
func (p *parser) moved() {
	p.start, p.pos, p.scan, p.first = 0, p.pos-p.start, p.scan-p.start, 0
}

// want returns how long the buffer must be for the current frame, 0 if unknown.
func (p *parser) want() int {
	if p.stage == stageBody && p.length >= 0 && !p.pieces(p.length) {
		return p.pos + p.length + 1
	}
	return 0
}

// parse appends the complete frames of b to its frames.
func (p *parser) parse(b *Batch) error {
	for len(b.Frames) < maxBatch {
		done, err := p.step(b)
		if err != nil {
			return p.blame(b, err)
		}
		if !done {
			return nil
		}
		if c := b.Frames[len(b.Frames)-1].Command; c == Connect || c == Stomp {
			return nil
		}
	}
	return nil
}

// blame adds the receipt of the frame that err is about.
func (p *parser) blame(b *Batch, err error) error {
	if e, ok := err.(*SyntaxError); ok && p.stage != stageBetween && p.stage != stagePieces { //nolint:errorlint // made here, never wrapped
		f := Frame{buf: b.buf[p.start:], spans: b.spans[p.first:]}
		if receipt, ok := f.Get("receipt"); ok {
			e.Receipt = string(receipt)
		}
	}
	return err
}

// step goes on to the end of a frame; false means that octets are missing.
func (p *parser) step(b *Batch) (bool, error) {
	if p.stage == stageBetween {
		if more, err := p.between(b); more || err != nil {
			return false, err
		}
	}
	if p.stage == stageCommand {
		if more, err := p.commandLine(b); more || err != nil {
			return false, err
		}
	}
	if p.stage == stageHeaders {
		if more, err := p.headerLines(b); more || err != nil {
			return false, err
		}
	}
	if p.stage == stagePieces {
		return p.piece(b)
	}
	return p.bodyEnd(b)
}

// between skips NUL and EOL in front of a frame; an EOL is a heart-beat.
func (p *parser) between(b *Batch) (more bool, err error) {
	buf := b.buf
	for p.pos < len(buf) {
		switch buf[p.pos] {
		case '\n', 0:
			p.pos++
			continue
		case '\r':
			if p.pos+1 == len(buf) {
				p.start, p.scan = p.pos, p.pos
				return true, nil
			}
			if buf[p.pos+1] != '\n' {
				return false, &SyntaxError{Reason: "a CR without LF between frames"}
			}
			p.pos += 2
			continue
		case 0x16:
			return false, ErrTLS
		}
		p.start, p.scan, p.first = p.pos, p.pos, len(b.spans)
		p.stage, p.length = stageCommand, -1
		return false, nil
	}
	p.start, p.scan, p.first = p.pos, p.pos, len(b.spans)
	return true, nil
}

// line returns the next line without its EOL. One CR before the LF is dropped
// in every version.
func (p *parser) line(buf []byte, limit int, what string) (line []byte, more bool, err error) {
	i := bytes.IndexByte(buf[p.scan:], '\n')
	if i < 0 {
		p.scan = len(buf)
		if len(buf)-p.pos > limit+1 {
			return nil, false, tooBig(what+" length", "a "+what+" line has at most % octets", limit)
		}
		return nil, true, nil
	}
	line = buf[p.pos : p.scan+i]
	p.pos = p.scan + i + 1
	p.scan = p.pos
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) > limit {
		return nil, false, tooBig(what+" length", "a "+what+" line has at most % octets", limit)
	}
	return line, false, nil
}

func (p *parser) commandLine(b *Batch) (more bool, err error) {
	head := b.buf[p.pos:min(len(b.buf), p.pos+maxCommand+1)]
	word, more, err := p.line(b.buf, maxCommand, "command")
	if more {
		word = b.buf[p.pos:]
	}
	command := commandOf(word)
	if command == Unknown && foreign(head) {
		return false, &SyntaxError{Reason: "this is no STOMP: is the client meant for another port?"}
	}
	if more || err != nil {
		return more, err
	}
	p.command, p.nameEnd = command, len(word)
	p.stage = stageHeaders
	return false, nil
}

// foreign reports whether what a frame begins with is another protocol's line, or
// noise: then no NUL may ever come that ends it, and waiting for one tells nobody.
// The verdict is the same in whatever pieces the line arrives.
func foreign(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	for i, c := range line {
		if c >= 0x7f || c < ' ' && (c != '\r' || i != len(line)-1) {
			return true
		}
	}
	return bytes.Contains(line, []byte(" HTTP/"))
}

func (p *parser) headerLines(b *Batch) (more bool, err error) {
	escaped := p.command.escaped(p.version)
	for {
		at := p.pos
		line, more, err := p.line(b.buf, p.limits.HeaderSize, "header")
		if more || err != nil {
			return more, err
		}
		if len(line) == 0 {
			if bytes.IndexByte(b.buf[p.start:at], 0) >= 0 {
				return false, &SyntaxError{Reason: "a NUL octet in a header"}
			}
			p.stage = stageBody
			return false, nil
		}
		if len(b.spans)-p.first >= p.limits.HeaderCount {
			return false, tooBig("number of headers", "a frame has at most % headers", p.limits.HeaderCount)
		}
		if p.pos-p.start > p.section {
			return false, tooBig("header length", "all header lines of a frame have at most % octets", p.section)
		}
		if err := p.header(b, line, at-p.start, escaped); err != nil {
			return false, err
		}
	}
}

// header adds the span of a line that begins at offset at of the frame. Escapes
// are decoded in place: the decoded text is never longer.
func (p *parser) header(b *Batch, line []byte, at int, escaped bool) error {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return &SyntaxError{Reason: "a header line without a colon"}
	}
	if colon == 0 {
		return &SyntaxError{Reason: "a header without a name"}
	}
	key, value := line[:colon], line[colon+1:]
	valueAt := at + colon + 1
	if escaped {
		var err error
		cr := p.version != V11 || !p.limits.StrictEscapes
		if key, err = unescape(key, cr); err != nil {
			return err
		}
		if value, err = unescape(value, cr); err != nil {
			return err
		}
	} else if p.version == V10 && p.command != Connect && p.command != Stomp {
		for len(value) > 0 && value[0] == ' ' {
			value, valueAt = value[1:], valueAt+1
		}
	}
	//nolint:gosec // a header section is far smaller than 4 GiB
	b.spans = append(b.spans, span{
		key: uint32(at), keyEnd: uint32(at + len(key)),
		value: uint32(valueAt), valueEnd: uint32(valueAt + len(value)),
	})
	if p.length < 0 && string(key) == "content-length" {
		return p.contentLength(value)
	}
	return nil
}

// contentLength reads the first content-length; a second one is never used.
func (p *parser) contentLength(value []byte) error {
	n, ok := readLength(value, p.mostBody())
	switch {
	case !ok:
		return &SyntaxError{Reason: "the content-length is not a valid integer"}
	case n > p.mostBody():
		return tooBig("data length", "a body of this kind has at most % octets", p.mostBody())
	}
	p.length = n
	return nil
}

// readLength reads a content-length, with blanks around it or without. Of one above
// most it says no more than that.
func readLength(value []byte, most int) (n int, ok bool) {
	value = bytes.Trim(value, " \t")
	if len(value) == 0 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n <= most {
			n = n*10 + int(c-'0')
		}
	}
	return n, true
}

// bodyEnd looks for the end of the body and adds the frame.
func (p *parser) bodyEnd(b *Batch) (bool, error) {
	buf := b.buf
	end := p.pos + p.length
	if p.pieces(p.length) {
		return p.piece(b)
	}
	if p.length >= 0 {
		if len(buf) <= end {
			return false, nil
		}
		if buf[end] != 0 {
			return false, &SyntaxError{Reason: "there is no NUL octet after content-length octets of body"}
		}
	} else {
		i := bytes.IndexByte(buf[p.scan:], 0)
		end = p.scan + i
		if i < 0 {
			end = len(buf)
			p.scan = len(buf)
		}
		if p.pieces(end - p.pos) {
			return p.piece(b)
		}
		if end-p.pos > p.mostBody() {
			return false, tooBig("data length", "a body of this kind has at most % octets", p.mostBody())
		}
		if i < 0 {
			return false, nil
		}
	}
	p.add(b, end)
	p.pass(b, end+1)
	p.reset()
	return true, nil
}

// add adds the frame whose body ends there, or what has come of it.
func (p *parser) add(b *Batch, end int) {
	raw := b.buf[p.start:end:end]
	f := Frame{
		Command:   p.command,
		HasLength: p.length >= 0,
		Length:    max(p.length, end-p.pos),
		Body:      b.buf[p.pos:end:end],
		name:      raw[:p.nameEnd],
		buf:       raw,
		spans:     b.spans[p.first:len(b.spans):len(b.spans)],
	}
	b.Frames = append(b.Frames, f)
}

// pass goes on at an offset; nothing before it is needed any more.
func (p *parser) pass(b *Batch, to int) {
	p.start, p.pos, p.scan, p.first = to, to, to, len(b.spans)
}
