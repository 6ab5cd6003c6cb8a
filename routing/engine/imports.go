package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// importWindow is how many messages of an import are under way; their bytes are
// those of Options.HeldBytes, and one message more.
const importWindow = 5000

// importParts is how many parts of a large message are.
const importParts = 8

// Import copies every live message of other logs into this cluster, in their
// order, and returns when all are confirmed. The logs must not change.
//
// It may be killed and started again, as often as it takes: the engine's session
// must be the same each time and belong to this import alone. Then each message
// has the same number in its lane each time, and the leaders know what they have.
// A message that a leader refused fails this import and each one after it. What is
// in temporary queues ends with them, and what cannot be read is nobody's: both are
// left out, counted and logged. What was dying goes to the dead letters.
func (e *Engine) Import(ctx context.Context, logs []Log, progress func(done int)) error {
	e.importing.Store(true)
	im := &importer{e: e, room: make(chan struct{}, importWindow), freed: make(chan struct{}, 1), progress: progress}
	states := make([]*shard.Shard, len(logs))
	for n, log := range logs {
		s := shard.New(shard.Options{})
		states[n] = s
		if err := replay(ctx, log, func(seq uint64, rec []byte) error { return s.Apply(seq, rec, nil) }); err != nil {
			return fmt.Errorf("importing shard %d: reading the log: %w", n, err)
		}
	}
	concludeAll(states)
	for n, log := range logs {
		if err := im.copyLog(ctx, log, states, n); err != nil {
			return fmt.Errorf("importing shard %d: %w", n, err)
		}
	}
	if im.temporary+im.unreadable > 0 {
		e.log.Warn().Int("temporary", im.temporary).Int("unreadable", im.unreadable).Msg("messages were not imported")
	}
	return im.finish(ctx)
}

// concludeAll ends the transactions that were under way when the logs ended: those
// with a logged commit have taken effect, the others have not.
func concludeAll(states []*shard.Shard) {
	for _, s := range states {
		commits := map[shard.TxID]bool{}
		s.Prepared(func(tx shard.TxID, coordinator uint16, _ string) {
			if int(coordinator) < len(states) {
				commits[tx], _ = states[coordinator].Verdict(tx)
			}
		})
		for tx, commit := range commits {
			s.Conclude(tx, commit)
		}
	}
}

// importer is the Completer of an import's sends.
type importer struct {
	e        *Engine
	room     chan struct{} // a place for each message under way
	freed    chan struct{} // bytes were given back
	uploads  uint64        // of large messages so far
	progress func(done int)

	temporary, unreadable int // messages left out

	mu   sync.Mutex
	done int
	err  error
}

// Complete implements routing.Completer.
func (im *importer) Complete(rs []routing.Result) {
	im.mu.Lock()
	for _, r := range rs {
		if r.Err != nil && im.err == nil {
			im.err = r.Err
		}
	}
	im.done += len(rs)
	done := im.done
	im.mu.Unlock()
	im.progress(done)
	for range rs {
		<-im.room
	}
	im.free()
}

// free says that bytes were given back.
func (im *importer) free() {
	select {
	case im.freed <- struct{}{}:
	default: // it was said before
	}
}

func (im *importer) failure() error {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.err
}

// copyLog copies the messages of shard n. Each run decides the same: what it leaves
// out takes no number.
func (im *importer) copyLog(ctx context.Context, log Log, states []*shard.Shard, n int) error {
	cache := newBodyCache(im.e.opts.CacheBytes, im.e.metrics.logReads)
	return states[n].Each(func(m shard.Stored) error {
		if isTemporary(m.Queue.Kind) && m.Dying == 0 {
			im.temporary++
			return nil
		}
		if m.Dying > 0 && arrived(states, n, m.Dying) {
			return nil
		}
		body, err := cache.body(ctx, log, m.Body)
		if err != nil {
			return err
		}
		env, err := envelope.DecodeFor(body, m.Queue)
		if err != nil {
			im.unreadable++
			im.e.log.Error().Err(err).Str("addr", m.Queue.Name).Uint64("key", m.Key).Msg("stored message cannot be read and is not imported")
			return nil
		}
		if m.Dying > 0 {
			env.Address = routing.Queue(im.e.opts.DeadLetter)
		}
		if m.Body.Kept || m.Dying > 0 {
			env.Expiry = 0
		}
		if m.Body.Parts > 0 {
			return im.sendLarge(ctx, &env, m, partsOf(ctx, cache, log, states[n], m.Key))
		}
		return im.send(ctx, &env)
	})
}

// partsOf returns a function that reads the parts of a large message.
func partsOf(ctx context.Context, cache *bodyCache, log Log, s *shard.Shard, key uint64) func(offset int64) ([]byte, error) {
	return func(offset int64) ([]byte, error) {
		at, _, ok := s.PartAt(key, offset)
		if !ok {
			return nil, fmt.Errorf("message %x has no part at %d: %w", key, offset, shard.ErrCorrupt)
		}
		return cache.body(ctx, log, at)
	}
}

// arrived reports whether a dying message of shard n is among the dead letters of
// another one already: the word of it was on its way back when the logs ended.
func arrived(states []*shard.Shard, n int, number uint64) bool {
	for _, s := range states {
		if s.Done(guestLane(n), number) {
			return true
		}
	}
	return false
}

func (im *importer) send(ctx context.Context, env *routing.Envelope) error {
	for im.e.held.Load() >= im.e.opts.HeldBytes {
		select {
		case <-im.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case im.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p := im.e.portals[im.e.shardOf(env.Address)]
	im.e.held.Add(int64(p.in.put(env, im, 0)))
	return im.failure()
}

// sendLarge uploads a large message, and goes on when that is confirmed. An upload
// whose import was killed in the middle may have been given up by the time that the
// next one begins: then it is repeated under another number. Each run does so at the
// same place, since the leader knows its answers.
func (im *importer) sendLarge(ctx context.Context, env *routing.Envelope, m shard.Stored, part func(offset int64) ([]byte, error)) error {
	select {
	case im.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	code := routing.CodeClosed
	for code == routing.CodeClosed {
		im.uploads++
		var err error
		if code, err = im.upload(ctx, env, m.Body.Parts, part); err != nil {
			return err
		}
	}
	r := routing.Result{}
	if code != routing.CodeOK {
		r.Err = &routing.Error{Code: code, Op: "import", Address: env.Address.String(), Reason: "a large message was refused"}
	}
	im.Complete([]routing.Result{r})
	return im.failure()
}

// upload uploads a message once and returns how that ended. Nothing waits at the gate
// for parts, which would give the requests other numbers each time.
func (im *importer) upload(ctx context.Context, env *routing.Envelope, bytes int64, part func(offset int64) ([]byte, error)) (routing.Code, error) {
	p := im.e.portals[im.e.shardOf(env.Address)]
	id := shard.UploadID{Session: im.e.session, Number: im.uploads}
	u := importUpload{im: im, answers: make(chan routing.Code, importParts)}
	index := uint32(0)
	for offset := int64(0); offset < bytes; index++ {
		b, err := part(offset)
		if err == nil {
			err = u.await(ctx, importParts-1)
		}
		if err != nil {
			return 0, err
		}
		offset += int64(len(b))
		u.put(p, &txStep{verb: stepPart, upload: id.Number, raw: appendPart(nil, id, index, b)})
	}
	if err := u.await(ctx, 0); err != nil || u.code != routing.CodeOK {
		return u.code, err
	}
	u.put(p, &txStep{verb: stepLarge, upload: id.Number, raw: envelope.Append(appendLarge(nil, id, bytes), env)})
	err := u.await(ctx, 0)
	return u.code, err
}

// importUpload is an upload of an import.
type importUpload struct {
	im       *importer
	answers  chan routing.Code
	underway int
	code     routing.Code // the first one that was not ok
}

func (u *importUpload) put(p *portal, t *txStep) {
	u.underway++
	t.done = func(code routing.Code) { u.answers <- code }
	p.putBehindParts(t)
}

// await waits until no more than so many steps are under way.
func (u *importUpload) await(ctx context.Context, most int) error {
	for u.underway > most {
		select {
		case code := <-u.answers:
			u.underway--
			if u.code == routing.CodeOK {
				u.code = code
			}
			u.im.free()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// finish waits until nothing is under way.
func (im *importer) finish(ctx context.Context) error {
	for range importWindow {
		select {
		case im.room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return im.failure()
}
