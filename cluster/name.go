package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A node's name is the identity of its replicas. Two processes of one name would vote
// twice, and what one of them has on its disk would count as confirmed by the other. So a
// node asks the others, before it stores anything or meets their peers, whether its name
// is in use, and once more before it enters the registry. Whoever finds another process
// in its own entry there ends: it was silent for so long that its name was given away.
//
// The two processes of a name do not meet: the embedded server refuses that connection.
// So the others tell, by their connections, which end with a process at once, and by
// what they hear, which a host that lost its power does not.

// nameSubject is where a node asks.
const nameSubject = "selvedge.name"

// namePatience is how long those are asked again that are connected and do not answer:
// they are busy, start, or are of a version that does not know the question.
const namePatience = 2 * time.Second

// ErrNameTaken says that another process runs under the node's name.
var ErrNameTaken = errors.New("cluster: another process runs under this node's name")

// nameRequest asks whether a process other than the one of a session has a name.
type nameRequest struct {
	Node    string `json:"node"`
	Session uint64 `json:"session"`
}

// nameAnswer is what a node knows of a name.
type nameAnswer struct {
	// Holder says that who answers has it.
	Holder bool `json:"holder,omitempty"`
	// Processes is how many processes of that name are connected to who answers, those
	// among them that store nothing yet: the one that asks is one.
	Processes int `json:"processes,omitempty"`
	// Heard says that another process than the one that asks was heard, Silent how long ago.
	Heard  bool          `json:"heard,omitempty"`
	Silent time.Duration `json:"silent,omitempty"`
}

// listenNames answers the nodes that ask, until the connection ends. holder is the name
// that the process has, empty for a probe, which has none yet.
func listenNames(s *store, m *members, holder string) error {
	return s.hear(nameSubject, "the questions about names", func(msg *nats.Msg) {
		var req nameRequest
		if json.Unmarshal(msg.Data, &req) != nil || msg.Reply == "" || req.Session == m.self.Session {
			return
		}
		a := nameAnswer{Holder: req.Node == holder, Processes: processes(s.srv, req.Node)}
		a.Silent, a.Heard = m.silence(req.Node, req.Session)
		if b, err := json.Marshal(a); err == nil {
			_ = msg.Respond(b) // a lost answer counts for nothing
		}
	})
}

// connected returns the names of the processes that a server is connected to, by their
// numbers.
func connected(srv *server.Server) map[string]string {
	names := make(map[string]string)
	if routes, err := srv.Routez(nil); err == nil {
		for _, r := range routes.Routes {
			names[r.RemoteID] = r.RemoteName
		}
	}
	return names
}

// processes returns how many processes of a node a server is connected to: they have its
// name, or that of a probe while they start or wait for their repair.
func processes(srv *server.Server, node string) int {
	count := 0
	for _, name := range connected(srv) {
		if name == node || name == node+probeSuffix {
			count++
		}
	}
	return count
}

// ownName returns nil when no other process is known to run under this node's name, as
// soon as those that are connected have said so. One that ended without a word is waited
// for until it counts as lost.
func (n *Node) ownName(ctx context.Context, s *store) error {
	began, told := time.Now(), false
	for {
		doubt, err := n.askName(ctx, s, time.Since(began))
		if err != nil || !doubt {
			return err
		}
		if !told {
			told = true
			n.opts.Log.Debug().Msg("it is not sure yet that the node's name is free")
		}
		if err := pause(ctx, readyEvery); err != nil {
			return err
		}
	}
}

// askName asks the others once. doubt says that another process of the name is connected,
// and may have ended, or that not all have answered: since is how long this node has been asking.
func (n *Node) askName(ctx context.Context, s *store, since time.Duration) (doubt bool, err error) {
	left, alive := len(connected(s.srv)), false
	if left == 0 {
		return false, nil
	}
	req := nameRequest{Node: n.opts.Node, Session: n.session}
	err = askAll(ctx, s.nc, nameSubject, req, func(a nameAnswer) (enough bool) {
		left--
		alive = alive || a.alive(since)
		doubt = doubt || a.doubtful(since)
		return alive || left <= 0
	})
	if err == nil && alive {
		err = n.nameTaken()
	}
	return doubt || left > 0 && since < namePatience, err
}

// alive says whether another process of the name lives for certain: it answers itself, or
// was heard since it is asked for.
func (a *nameAnswer) alive(since time.Duration) bool {
	return a.Holder || a.Processes > 1 && a.Heard && a.Silent < since
}

// doubtful says whether another process of the name may live.
func (a *nameAnswer) doubtful(since time.Duration) bool {
	silent := since
	if a.Heard {
		silent = a.Silent
	}
	return a.Processes > 1 && silent < memberLost
}

// nameTaken is the error of a node whose name another process has.
func (n *Node) nameTaken() error {
	return fmt.Errorf("%w: %q is in use elsewhere: give this node a name and a data folder of its own, or stop the other one first",
		ErrNameTaken, n.opts.Node)
}
