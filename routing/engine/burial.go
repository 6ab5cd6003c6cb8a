package engine

import (
	"context"
	"errors"
	"time"

	"github.com/selvedge-mq/selvedge/internal/mailbox"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
	"github.com/selvedge-mq/selvedge/routing/shard"
)

// undertaker brings the dying messages of a led shard to the portal of the shard
// in which the dead-letter queue lives. The machine bounds how many are under way.
type undertaker struct {
	l    *leader
	to   routing.Address
	at   *portal
	box  *mailbox.Mailbox[shard.DeadLetter]
	done chan struct{}
}

// bury hands a dying message to the undertaker, who starts with the first one.
func (l *leader) bury(ctx context.Context, d *shard.DeadLetter) {
	if l.undertaker == nil {
		to := routing.Queue(l.e.opts.DeadLetter)
		u := &undertaker{
			l: l, to: to, at: l.e.portals[l.e.shardOf(to)], box: mailbox.New[shard.DeadLetter](), done: make(chan struct{}),
		}
		l.undertaker = u
		l.e.wg.Go(func() {
			defer close(u.done)
			u.run(ctx)
		})
	}
	l.undertaker.box.Put(*d)
}

// run works until ctx ends: the next leader goes on with what is under way.
func (u *undertaker) run(ctx context.Context) {
	defer u.at.box.Put(func() { u.at.dismiss(u.l.shard) })
	var batch []shard.DeadLetter
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.box.Ready():
		}
		batch = u.box.Take(batch)
		for i := range batch {
			if err := u.carry(ctx, &batch[i]); err != nil {
				if ctx.Err() == nil {
					u.l.box.Put(func() { u.l.fail(err) }) // the body cannot be read now
				}
				return
			}
		}
	}
}

// carry gives a dead letter to the portal. One whose bytes are no message any more,
// or whose message is gone, goes as nothing: its number must be used up all the same.
func (u *undertaker) carry(ctx context.Context, d *shard.DeadLetter) error {
	var body []byte
	if d.Body.Size > 0 {
		var err error
		if body, err = u.l.body(ctx, d.Key, d.Body); err != nil && !errors.Is(err, ErrPurged) {
			return err
		}
	}
	key, number := d.Key, d.Number // d lies in a batch that is used again
	done := func(code routing.Code) { u.l.box.Put(func() { u.l.buried(key, code) }) }
	env, err := envelope.Decode(body)
	env.Address, env.Expiry = u.to, 0
	if number > 0 {
		m := letter{number: number, done: done}
		switch {
		case err != nil:
		case d.Body.Parts > 0:
			return u.carryLarge(ctx, d, &env, m)
		default:
			m.body = envelope.Append(nil, &env)
		}
		u.at.box.Put(func() { u.at.takeLetter(u.l.shard, u.l.epoch, m) })
		return nil
	}
	if err != nil {
		done(routing.CodeInvalid)
		return nil
	}
	u.l.e.held.Add(int64(u.at.in.put(&env, &softLetter{done: done}, 0)))
	return nil
}

// carryLarge brings the parts of a large dead letter to its shard, one at a time, and
// the letter behind them. The upload is named by this shard and the letter's number:
// the next leader brings all of it again, and what is there already is known.
func (u *undertaker) carryLarge(ctx context.Context, d *shard.DeadLetter, env *routing.Envelope, m letter) error {
	id := shard.UploadID{Session: uint64(u.l.shard), Number: m.number}
	key, parts := d.Key, d.Body.Parts
	for offset, index := int64(0), uint32(0); offset < parts; index++ {
		part, start, err := u.l.partAt(ctx, key, offset)
		if errors.Is(err, ErrPurged) { // its queue was deleted: the letter fails, and the number is used up
			break
		}
		if err != nil {
			return err
		}
		offset = start + int64(len(part))
		ended := make(chan routing.Code, 1)
		u.at.putPart(&txStep{
			verb: stepPart, upload: m.number, raw: appendPart(nil, id, index, part),
			done: func(code routing.Code) { ended <- code },
		})
		select {
		case code := <-ended:
			if code != routing.CodeOK { // it took so long that it was given up: the letter fails, and goes again
				offset = parts
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.large = true
	m.body = envelope.Append(appendLarge(nil, id, parts), env)
	u.at.box.Put(func() { u.at.takeLetter(u.l.shard, u.l.epoch, m) })
	return nil
}

// softLetter is the Completer of a dead letter that is not persistent. Without an
// answer in time it counts as arrived: the portal keeps it and sends it on, and
// no shard could tell a second one.
type softLetter struct{ done func(code routing.Code) }

// Complete implements routing.Completer.
func (s *softLetter) Complete(results []routing.Result) {
	for _, r := range results {
		code := routing.CodeOf(r.Err)
		if code == routing.CodeTimeout || code == routing.CodeUnavailable {
			code = routing.CodeOK
		}
		s.done(code)
	}
}

// refusedLetter is a dead letter without a number that its address did not take.
type refusedLetter struct {
	key uint64
	at  time.Time
}

// retryLetter is the pause before a refused dead letter is tried again.
const retryLetter = time.Second

// buried takes the answer to a dead letter.
func (l *leader) buried(key uint64, code routing.Code) {
	switch {
	case l.failed != nil:
	case code == routing.CodeOK:
		l.s.Buried(key)
	case l.s.Locate(key).Size == 0: // its queue was deleted: the number was used up
		l.s.Buried(key)
	case code == routing.CodeInvalid:
		l.zl.Error().Uint64("key", key).Msg("dead message cannot be read and is dropped")
		l.s.Unburied(key, code)
	default:
		l.zl.Debug().Uint64("key", key).Stringer("code", code).Msg("dead letter is tried again")
		l.tryLetterAgain(key, code, time.Now())
	}
}

// tryLetterAgain has a refused letter go again after a pause. One with a number gets
// the next one at once: the old one is used up, and another leader would not know
// that it was not for good.
func (l *leader) tryLetterAgain(key uint64, code routing.Code, now time.Time) {
	if !l.s.Numbered(key) {
		l.refused = append(l.refused, refusedLetter{key: key, at: now})
		return
	}
	l.s.Unburied(key, code)
	l.lettersFrom = now.Add(retryLetter)
}

// retryLetters tries those again that were refused a while ago.
func (l *leader) retryLetters(now time.Time) {
	for len(l.refused) > 0 && now.Sub(l.refused[0].at) >= retryLetter {
		l.s.Unburied(l.refused[0].key, routing.CodeFull)
		l.refused = l.refused[1:]
	}
}
