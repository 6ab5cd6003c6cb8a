package frames

import "github.com/selvedge-mq/selvedge/protocols/amqp/wire"

// SASLMechanisms lists the mechanisms of a server. [security 5.3.3.1]
//
//	field                   type      default  mandatory
//	sasl-server-mechanisms  symbol[]           yes
type SASLMechanisms struct {
	Mechanisms []wire.Symbol
}

// Code is the descriptor of sasl-mechanisms.
func (*SASLMechanisms) Code() uint64 { return CodeSASLMechanisms }

// Append appends the performative.
func (s *SASLMechanisms) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeSASLMechanisms)
	w.Symbols(s.Mechanisms)
	return w.End()
}

func (s *SASLMechanisms) decode(f *wire.Fields) {
	*s = SASLMechanisms{Mechanisms: f.NeedSymbols("sasl-server-mechanisms")}
}

// SASLInit chooses a mechanism. [security 5.3.3.2]
//
//	field             type    default  mandatory
//	mechanism         symbol           yes
//	initial-response  binary
//	hostname          string
type SASLInit struct {
	Mechanism       wire.Symbol
	InitialResponse []byte // nil when absent, which is not the same as empty
	Hostname        string // empty when absent
}

// Code is the descriptor of sasl-init.
func (*SASLInit) Code() uint64 { return CodeSASLInit }

// Append appends the performative.
func (s *SASLInit) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeSASLInit)
	w.Symbol(s.Mechanism)
	w.OptBinary(s.InitialResponse)
	w.Text(s.Hostname)
	return w.End()
}

func (s *SASLInit) decode(f *wire.Fields) {
	*s = SASLInit{
		Mechanism:       f.NeedSymbol("mechanism"),
		InitialResponse: f.Binary("initial-response"),
		Hostname:        f.String("hostname"),
	}
}

// SASLChallenge asks for a response. [security 5.3.3.3]
//
//	field      type    default  mandatory
//	challenge  binary           yes
type SASLChallenge struct {
	Challenge []byte
}

// Code is the descriptor of sasl-challenge.
func (*SASLChallenge) Code() uint64 { return CodeSASLChallenge }

// Append appends the performative.
func (s *SASLChallenge) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeSASLChallenge)
	w.Binary(s.Challenge)
	return w.End()
}

func (s *SASLChallenge) decode(f *wire.Fields) {
	*s = SASLChallenge{Challenge: f.NeedBinary("challenge")}
}

// SASLResponse answers a challenge. [security 5.3.3.4]
//
//	field     type    default  mandatory
//	response  binary           yes
type SASLResponse struct {
	Response []byte
}

// Code is the descriptor of sasl-response.
func (*SASLResponse) Code() uint64 { return CodeSASLResponse }

// Append appends the performative.
func (s *SASLResponse) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeSASLResponse)
	w.Binary(s.Response)
	return w.End()
}

func (s *SASLResponse) decode(f *wire.Fields) {
	*s = SASLResponse{Response: f.NeedBinary("response")}
}

// SASLCode is the result of an authentication. [security 5.3.3.6]
type SASLCode uint8

// The results.
const (
	SASLOK          SASLCode = 0
	SASLAuth        SASLCode = 1 // the credentials are wrong
	SASLSystem      SASLCode = 2
	SASLSystemPerm  SASLCode = 3 // an operator must act
	SASLSystemTrans SASLCode = 4 // trying again may help
)

// SASLOutcome ends an authentication. [security 5.3.3.5]
//
//	field            type       default  mandatory
//	code             sasl-code           yes
//	additional-data  binary
type SASLOutcome struct {
	Outcome        SASLCode
	AdditionalData []byte // nil when absent
}

// Code is the descriptor of sasl-outcome.
func (*SASLOutcome) Code() uint64 { return CodeSASLOutcome }

// Append appends the performative.
func (s *SASLOutcome) Append(dst []byte) []byte {
	w := wire.BeginList(dst, CodeSASLOutcome)
	w.Ubyte(uint8(s.Outcome))
	w.OptBinary(s.AdditionalData)
	return w.End()
}

func (s *SASLOutcome) decode(f *wire.Fields) {
	*s = SASLOutcome{
		Outcome:        SASLCode(f.NeedUbyte("code")),
		AdditionalData: f.Binary("additional-data"),
	}
	if s.Outcome > SASLSystemTrans {
		f.Fail("not a sasl-code")
	}
}
