package main

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/amqptest"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// serveAMQP starts the AMQP front-end over a broker in memory: amqp [USER
// PASSWORD].
func serveAMQP(ts *testscript.TestScript, _ bool, args []string) {
	users := prototest.Users{}
	if len(args) == 2 {
		users[args[0]] = args[1]
	}
	s, err := amqptest.Open(users)
	ts.Check(err)
	ts.Defer(s.Close)
	ts.Setenv("SELVEDGE_SERVER", s.Addr)
	ts.Setenv("SELVEDGE_PROTOCOL", protocolAMQP)
}
