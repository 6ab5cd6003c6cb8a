package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// StateKind is what a delivery state is.
type StateKind uint8

// The delivery states. Accepted, rejected, released, modified and declared are
// outcomes. [messaging 3.4] [transactions 4.5]
const (
	StateNone          StateKind = iota // the field is absent
	StateReceived                       // progress, no outcome
	StateAccepted                       // consumed
	StateRejected                       // with Error
	StateReleased                       // as if not sent
	StateModified                       // with DeliveryFailed, UndeliverableHere, Annotations
	StateDeclared                       // with TxnID
	StateTransactional                  // with TxnID and Outcome
)

// The symbols of the outcomes, as they stand in a source's outcomes.
const (
	OutcomeAccepted wire.Symbol = "amqp:accepted:list"
	OutcomeRejected wire.Symbol = "amqp:rejected:list"
	OutcomeReleased wire.Symbol = "amqp:released:list"
	OutcomeModified wire.Symbol = "amqp:modified:list"
)

// State is a delivery state: one type for all of them, so that it is part of a
// transfer or disposition without a pointer.
//
//	state                field                type    default  mandatory
//	received             section-number       uint             yes
//	                     section-offset       ulong            yes
//	rejected             error                error
//	modified             delivery-failed      boolean
//	                     undeliverable-here   boolean
//	                     message-annotations  fields
//	declared             txn-id               binary           yes
//	transactional-state  txn-id               binary           yes
//	                     outcome              *
type State struct {
	Kind StateKind
	// Outcome is the outcome in a transactional state, StateNone when it has
	// none. The fields of that outcome are those of this struct.
	Outcome           StateKind
	TxnID             []byte
	Error             *Error
	DeliveryFailed    bool
	UndeliverableHere bool
	Annotations       wire.Map
	SectionNumber     uint32
	SectionOffset     uint64
}

// Result returns the state's outcome, in a transaction or not.
func (s *State) Result() StateKind {
	if s.Kind == StateTransactional {
		return s.Outcome
	}
	return s.Kind
}

// Append appends the state, null if it is StateNone.
func (s *State) Append(dst []byte) []byte { return s.append(dst, s.Kind) }

func (s *State) write(w *wire.ListWriter) {
	if s.Kind == StateNone {
		w.Null()
		return
	}
	w.Put(s.append(w.Begin(), s.Kind))
}

func (s *State) append(dst []byte, kind StateKind) []byte {
	if kind == StateNone {
		return wire.AppendNull(dst)
	}
	w := wire.BeginList(dst, stateCodes[kind])
	switch kind {
	case StateNone, StateAccepted, StateReleased:
	case StateReceived:
		w.Uint(s.SectionNumber)
		w.Ulong(s.SectionOffset)
	case StateRejected:
		writeError(&w, s.Error)
	case StateModified:
		w.Flag(s.DeliveryFailed)
		w.Flag(s.UndeliverableHere)
		w.OptMap(s.Annotations)
	case StateDeclared:
		w.Binary(s.TxnID)
	case StateTransactional:
		w.Binary(s.TxnID)
		if s.Outcome != StateNone {
			w.Put(s.append(w.Begin(), s.Outcome))
		}
	}
	return w.End()
}

var stateCodes = [...]uint64{
	StateReceived: CodeReceived, StateAccepted: CodeAccepted, StateRejected: CodeRejected,
	StateReleased: CodeReleased, StateModified: CodeModified, StateDeclared: CodeDeclared,
	StateTransactional: CodeTransactionalState,
}

// read reads a field with a delivery state.
func (s *State) read(f *wire.Fields, name string) {
	*s = State{}
	s.Kind = s.readKind(f, name)
}

// readKind reads a field with a delivery state into s, except for its kind.
func (s *State) readKind(f *wire.Fields, name string) StateKind {
	code, in, ok := f.Composite(name, names)
	if !ok {
		return StateNone
	}
	kind := s.decode(&in, code)
	in.End()
	return kind
}

func (s *State) decode(f *wire.Fields, code uint64) StateKind {
	switch code {
	case CodeReceived:
		s.SectionNumber = f.NeedUint("section-number")
		s.SectionOffset = f.NeedUlong("section-offset")
		return StateReceived
	case CodeAccepted:
		return StateAccepted
	case CodeRejected:
		s.Error = readError(f)
		return StateRejected
	case CodeReleased:
		return StateReleased
	case CodeModified:
		s.DeliveryFailed = f.Bool("delivery-failed")
		s.UndeliverableHere = f.Bool("undeliverable-here")
		s.Annotations = f.Map("message-annotations")
		return StateModified
	case CodeDeclared:
		s.TxnID = f.NeedBinary("txn-id")
		return StateDeclared
	case CodeTransactionalState:
		s.TxnID = f.NeedBinary("txn-id")
		s.Outcome = s.readOutcome(f)
		return StateTransactional
	}
	f.Fail("not a delivery state")
	return StateNone
}

// readOutcome reads the outcome of a transactional state, which is neither
// received, declared nor transactional itself.
func (s *State) readOutcome(f *wire.Fields) StateKind {
	code, in, ok := f.Composite("outcome", names)
	if !ok {
		return StateNone
	}
	kind := StateNone
	if code >= CodeAccepted && code <= CodeModified {
		kind = s.decode(&in, code)
	} else {
		in.Fail("not an outcome")
	}
	in.End()
	return kind
}

var stateNames = [...]string{"none", "received", "accepted", "rejected", "released", "modified", "declared", "transactional"}

// String returns the name of the state, as it stands in logs.
func (k StateKind) String() string { return stateNames[k] }
