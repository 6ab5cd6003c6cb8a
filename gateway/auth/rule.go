package auth

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/selvedge-mq/selvedge/routing"
)

// Everyone stands in a rule for every client that was admitted, with a login or
// without.
const Everyone = "*"

// Rule says who may do what on the addresses that its pattern matches.
type Rule struct {
	// Address is an exact name, or ends in "*" and matches what begins with the
	// rest. With "queue://" or "topic://" in front it matches that kind only.
	Address string
	Read    []string // names of users, or [Everyone]
	Write   []string
	Admin   []string
}

// Rules decide in their order: the first that matches an address decides alone,
// and an address that none matches is closed. Without any rule everything is
// allowed. Temporary addresses, which belong to one connection, are open unless
// a rule names their kind. Rules are safe for concurrent use and implement
// [routing.Authorizer].
type Rules struct {
	rules atomic.Pointer[[]compiled]
}

var _ routing.Authorizer = (*Rules)(nil)

type compiled struct {
	kind   routing.Kind // zero: queues and topics
	name   string
	prefix bool
	users  [4]map[string]bool // by action
}

// NewRules checks the rules and prepares them.
func NewRules(rules []Rule) (*Rules, error) {
	rs := &Rules{}
	if err := rs.Replace(rules); err != nil {
		return nil, err
	}
	return rs, nil
}

// Replace puts other rules in force, or leaves everything as it is and says what
// is wrong.
func (rs *Rules) Replace(rules []Rule) error {
	all := make([]compiled, 0, len(rules))
	for _, r := range rules {
		c, err := compile(r)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	rs.rules.Store(&all)
	return nil
}

// Authorize returns nil or an *[routing.Error] with CodeUnauthorized.
func (rs *Rules) Authorize(p routing.Principal, do routing.Action, on routing.Address) error {
	rules := *rs.rules.Load()
	if len(rules) == 0 {
		return nil
	}
	for i := range rules {
		r := &rules[i]
		if !r.match(on) {
			continue
		}
		if users := r.users[do]; users[Everyone] || !p.Anonymous && users[p.Name] {
			return nil
		}
		return refused(p, do, on)
	}
	if on.Kind == routing.KindTempQueue || on.Kind == routing.KindTempTopic {
		return nil
	}
	return refused(p, do, on)
}

func (r *compiled) match(on routing.Address) bool {
	if r.kind != on.Kind && (r.kind != 0 || on.Kind != routing.KindQueue && on.Kind != routing.KindTopic) {
		return false
	}
	if r.prefix {
		return strings.HasPrefix(on.Name, r.name)
	}
	return on.Name == r.name
}

// CheckPattern reports why a pattern cannot stand in a rule, or nil.
func CheckPattern(pattern string) error {
	_, err := compile(Rule{Address: pattern})
	return err
}

func compile(r Rule) (compiled, error) {
	c := compiled{name: r.Address}
	if strings.Contains(r.Address, "://") {
		at, err := routing.ParseAddress(r.Address)
		if err != nil {
			return compiled{}, err
		}
		c.kind, c.name = at.Kind, at.Name
	}
	c.name, c.prefix = strings.CutSuffix(c.name, "*")
	if strings.Contains(c.name, "*") {
		return compiled{}, fmt.Errorf("address %q: a * may only stand at the end", r.Address)
	}
	if c.name == "" && !c.prefix {
		return compiled{}, fmt.Errorf("address %q: the name is empty, write * for every address", r.Address)
	}
	for do, names := range map[routing.Action][]string{
		routing.ActionRead: r.Read, routing.ActionWrite: r.Write, routing.ActionAdmin: r.Admin,
	} {
		c.users[do] = make(map[string]bool, len(names))
		for _, name := range names {
			c.users[do][name] = true
		}
	}
	return c, nil
}

func refused(p routing.Principal, do routing.Action, on routing.Address) error {
	who := p.Name
	if p.Anonymous {
		who = "a client without a login"
	}
	verbs := [...]string{routing.ActionRead: "read", routing.ActionWrite: "write", routing.ActionAdmin: "administer"}
	return &routing.Error{
		Code: routing.CodeUnauthorized, Op: "authorize", Address: on.String(),
		Reason: who + " may not " + verbs[do] + " here",
	}
}
