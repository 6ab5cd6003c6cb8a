package amqp

import "testing"

// A connection has as many transactions and dynamic nodes as the options allow.
func TestLimits_OfAConnection(t *testing.T) { script(t, "limits") }
