// Package frames knows the frames of AMQP 1.0 and what stands in them: the
// performatives, the termini, the delivery states. It knows the bytes of each,
// not what they do to a connection.
package frames

// The descriptors of the composite types. [transport 2.7] [messaging 3.4-5]
// [transactions 4.5] [security 5.3.3]
const (
	CodeOpen        uint64 = 0x10
	CodeBegin       uint64 = 0x11
	CodeAttach      uint64 = 0x12
	CodeFlow        uint64 = 0x13
	CodeTransfer    uint64 = 0x14
	CodeDisposition uint64 = 0x15
	CodeDetach      uint64 = 0x16
	CodeEnd         uint64 = 0x17
	CodeClose       uint64 = 0x18
	CodeError       uint64 = 0x1d

	CodeReceived uint64 = 0x23
	CodeAccepted uint64 = 0x24
	CodeRejected uint64 = 0x25
	CodeReleased uint64 = 0x26
	CodeModified uint64 = 0x27
	CodeSource   uint64 = 0x28
	CodeTarget   uint64 = 0x29

	CodeDeleteOnClose             uint64 = 0x2b
	CodeDeleteOnNoLinks           uint64 = 0x2c
	CodeDeleteOnNoMessages        uint64 = 0x2d
	CodeDeleteOnNoLinksOrMessages uint64 = 0x2e

	CodeCoordinator        uint64 = 0x30
	CodeDeclare            uint64 = 0x31
	CodeDischarge          uint64 = 0x32
	CodeDeclared           uint64 = 0x33
	CodeTransactionalState uint64 = 0x34

	CodeSASLMechanisms uint64 = 0x40
	CodeSASLInit       uint64 = 0x41
	CodeSASLChallenge  uint64 = 0x42
	CodeSASLResponse   uint64 = 0x43
	CodeSASLOutcome    uint64 = 0x44
)

// names gives the descriptor of each symbolic one: peers may send either.
var names = map[string]uint64{
	"amqp:open:list":        CodeOpen,
	"amqp:begin:list":       CodeBegin,
	"amqp:attach:list":      CodeAttach,
	"amqp:flow:list":        CodeFlow,
	"amqp:transfer:list":    CodeTransfer,
	"amqp:disposition:list": CodeDisposition,
	"amqp:detach:list":      CodeDetach,
	"amqp:end:list":         CodeEnd,
	"amqp:close:list":       CodeClose,
	"amqp:error:list":       CodeError,

	"amqp:received:list": CodeReceived,
	"amqp:accepted:list": CodeAccepted,
	"amqp:rejected:list": CodeRejected,
	"amqp:released:list": CodeReleased,
	"amqp:modified:list": CodeModified,
	"amqp:source:list":   CodeSource,
	"amqp:target:list":   CodeTarget,

	"amqp:delete-on-close:list":                CodeDeleteOnClose,
	"amqp:delete-on-no-links:list":             CodeDeleteOnNoLinks,
	"amqp:delete-on-no-messages:list":          CodeDeleteOnNoMessages,
	"amqp:delete-on-no-links-or-messages:list": CodeDeleteOnNoLinksOrMessages,

	"amqp:coordinator:list":         CodeCoordinator,
	"amqp:declare:list":             CodeDeclare,
	"amqp:discharge:list":           CodeDischarge,
	"amqp:declared:list":            CodeDeclared,
	"amqp:transactional-state:list": CodeTransactionalState,

	"amqp:sasl-mechanisms:list": CodeSASLMechanisms,
	"amqp:sasl-init:list":       CodeSASLInit,
	"amqp:sasl-challenge:list":  CodeSASLChallenge,
	"amqp:sasl-response:list":   CodeSASLResponse,
	"amqp:sasl-outcome:list":    CodeSASLOutcome,
}
