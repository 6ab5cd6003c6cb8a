package bench

import "time"

// Report is the outcome of a run. The names of its JSON are stable.
type Report struct {
	Seconds float64 `json:"seconds"` // from the start to the last message or confirmation

	Sent        uint64 `json:"sent"` // messages, each once
	Resent      uint64 `json:"resent"`
	Confirmed   uint64 `json:"confirmed"`
	Refused     uint64 `json:"refused"`
	Unconfirmed uint64 `json:"unconfirmed"` // at the end; 0 when no confirmations were asked for
	Deliveries  uint64 `json:"deliveries"`  // messages of this run, duplicates included
	Received    uint64 `json:"received"`    // messages, each once

	Lost               uint64 `json:"lost"` // confirmed and not received
	UnmarkedDuplicates uint64 `json:"unmarked_duplicates"`
	MarkedDuplicates   uint64 `json:"marked_duplicates"` // redelivered, and said so
	ResentDuplicates   uint64 `json:"resent_duplicates"` // sent again by this bench after a reconnect
	Redelivered        uint64 `json:"redelivered"`       // marked so, whether received before or not
	OutOfOrder         uint64 `json:"out_of_order"`
	Corrupted          uint64 `json:"corrupted"`
	Foreign            uint64 `json:"foreign"` // of another run; taken off the queue and not counted

	SendsPerSecond      float64 `json:"sends_per_second"` // confirmed ones, if confirmations were asked for
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	MegabytesPerSecond  float64 `json:"megabytes_per_second"` // bodies delivered, or sent if nobody received

	ConfirmLatency  Latency `json:"confirm_latency"`  // from send to confirmation
	DeliveryLatency Latency `json:"delivery_latency"` // from send to delivery

	ConfirmGap        GapReport `json:"longest_confirm_gap"`         // no producer had a confirmation
	WorstConfirmGap   GapReport `json:"longest_confirm_gap_of_one"`  // one producer had none
	DeliveryGap       GapReport `json:"longest_delivery_gap"`        // no consumer had a message
	WorstDeliveryGap  GapReport `json:"longest_delivery_gap_of_one"` // one consumer had none
	Reconnects        uint64    `json:"reconnects"`
	Errors            []string  `json:"errors"`
	LostExamples      []Message `json:"lost_examples"`
	Failed            []string  `json:"failed"` // the checks that did not hold; empty means all did
	checked           bool
	confirmationsSeen bool
}

// GapReport is a gap in the report's units.
type GapReport struct {
	AtSeconds    float64 `json:"at_seconds"`
	Milliseconds float64 `json:"ms"`
}

// Message names one message.
type Message struct {
	Producer int    `json:"producer"`
	Sequence uint64 `json:"sequence"`
}

// OK reports whether all checks held.
func (r *Report) OK() bool { return len(r.Failed) == 0 }

// report adds everything up. All workers have ended.
func (b *Bench) report(p *progress) *Report {
	c := b.counts()
	r := &Report{
		Sent: c.sent, Resent: c.resent, Confirmed: c.confirmed, Refused: c.refused,
		OutOfOrder: b.ledger.outOfOrder.Load(), Corrupted: b.ledger.corrupted.Load(), Foreign: b.ledger.foreign.Load(),
		ConfirmLatency: summary(p.confirmed), DeliveryLatency: summary(p.received),
		Reconnects: c.redial, Errors: b.failures.list(), LostExamples: []Message{}, Failed: []string{},
		checked: b.opts.Consumers > 0 && b.opts.Producers > 0, confirmationsSeen: b.opts.Window > 0,
	}
	if r.confirmationsSeen {
		r.Unconfirmed = r.Sent - r.Confirmed - r.Refused
	}
	b.addLedger(r)
	b.addRates(r)
	b.addGaps(r)
	b.judge(r)
	return r
}

func (b *Bench) addLedger(r *Report) {
	const examples = 10
	var producer int
	for i := range b.ledger.used.Load() {
		producer = int(i)
		a := b.ledger.account(i)
		a.mu.Lock()
		r.Deliveries += a.totals.Deliveries
		r.Redelivered += a.totals.Redelivered
		r.MarkedDuplicates += a.totals.MarkedDuplicates
		r.ResentDuplicates += a.totals.ResentDuplicates
		r.UnmarkedDuplicates += a.totals.UnmarkedDuplicates
		r.Received += a.distinct
		if r.checked {
			r.Lost += a.confirmed - a.met
			for _, seq := range a.expected.missingFrom(a.received, examples-len(r.LostExamples)) {
				r.LostExamples = append(r.LostExamples, Message{Producer: producer, Sequence: seq})
			}
		}
		a.mu.Unlock()
	}
}

func (b *Bench) addRates(r *Report) {
	rate := func(n uint64, from, to time.Duration) float64 {
		if to <= from {
			return 0
		}
		return float64(n) / (to - from).Seconds()
	}
	bytes := 0.0
	end := b.sendsEnded
	if b.opts.Producers > 0 {
		n := r.Sent
		if r.confirmationsSeen {
			n = r.Confirmed
		}
		if _, last, ok := b.confirms.bounds(); ok {
			end = last
		}
		r.SendsPerSecond = rate(n, b.sendsBegan, end)
		bytes = r.SendsPerSecond * float64(b.opts.Size)
	}
	if first, last, ok := b.receipts.bounds(); ok {
		end = max(end, last)
		if r.checked {
			first = b.sendsBegan
		}
		r.DeliveriesPerSecond = rate(r.Deliveries, first, last)
		bytes = r.DeliveriesPerSecond * float64(b.opts.Size)
	}
	r.MegabytesPerSecond = bytes / 1e6
	r.Seconds = (end - b.sendsBegan).Seconds()
}

func (b *Bench) addGaps(r *Report) {
	r.ConfirmGap, r.DeliveryGap = gapReport(b.confirms.longestGap()), gapReport(b.receipts.longestGap())
	worst := Gap{}
	for _, p := range b.producers {
		worst = longer(worst, p.confirms.longestGap())
	}
	r.WorstConfirmGap = gapReport(worst)
	worst = Gap{}
	for _, c := range b.consumers {
		worst = longer(worst, c.receipts.longestGap())
	}
	r.WorstDeliveryGap = gapReport(worst)
}

func longer(a, b Gap) Gap {
	if b.Length > a.Length {
		return b
	}
	return a
}

func gapReport(g Gap) GapReport {
	return GapReport{AtSeconds: g.At.Seconds(), Milliseconds: float64(g.Length) / float64(time.Millisecond)}
}

// judge names the checks that did not hold.
func (b *Bench) judge(r *Report) {
	for _, c := range []struct {
		broken bool
		name   string
	}{
		{r.Lost > 0, "messages were lost"},
		{r.UnmarkedDuplicates > 0, "duplicates were not marked as redelivered"},
		{r.OutOfOrder > 0, "messages came out of order"},
		{r.Corrupted > 0, "bodies were damaged, or are none of a bench"},
		{r.Refused > 0, "messages were refused"},
		{r.Unconfirmed > 0, "messages were never confirmed"},
		{len(r.Errors) > 0 && !b.opts.Reconnect, "connections failed"},
		{b.opts.Count > 0 && b.opts.Producers > 0 && b.opts.Duration == 0 && r.Sent < uint64(b.opts.Count), "not all messages could be sent"},
		{b.opts.Count > 0 && b.opts.Producers == 0 && r.Received < uint64(b.opts.Count), "fewer messages came than were asked for"},
	} {
		if c.broken {
			r.Failed = append(r.Failed, c.name)
		}
	}
}
