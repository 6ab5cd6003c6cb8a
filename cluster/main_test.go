package cluster

import (
	"flag"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is that of clustertest, which tests within the package cannot import.
const patience = 2 * time.Minute

// TestMain has more tests run at once than there are processors, unless -parallel says
// how many: a test of a cluster mostly waits for elections and for the silence of nodes.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	// An embedded server that ends while it makes the raft group of a log may forget the
	// group's store. The end of a process ends it; a test cannot tell when a server
	// makes a group.
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}
