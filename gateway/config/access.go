package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/selvedge-mq/selvedge/gateway/auth"
)

// The keys that stand in the file only.
const (
	keyUsers = "users"
	keyRules = "rules"
)

const keyGuest = "anonymous-user" // a setting

func (l *loader) readUsers(f yamlFile, e *ast.MappingValueNode) error {
	if e == nil {
		return nil
	}
	items, err := f.items(e, "- name: alice")
	if err != nil {
		return err
	}
	for _, item := range items {
		var u auth.User
		err := f.fields(item, "name: alice", map[string]func(ast.Node) error{
			"name":        text(&u.Name),
			"password":    text(&u.Password),
			"certificate": text(&u.Certificate),
			"admin":       boolean(&u.Admin),
		})
		switch {
		case err != nil:
			return err
		case u.Name == "" || u.Name == auth.Everyone:
			return f.fail(item, "users: the user has no name: write for example name: alice")
		case u.Password == "" && u.Certificate == "":
			return f.fail(item, "users: %s has no password: write password: and what \"selvedge passwd\" prints, or certificate: and the name in it", u.Name)
		case slices.ContainsFunc(l.c.Users, func(o auth.User) bool { return o.Name == u.Name }):
			return f.fail(item, "users: %s stands there twice", u.Name)
		}
		if err := u.Check(); err != nil {
			return f.fail(item, "users: %s: %w", u.Name, err)
		}
		l.c.Users = append(l.c.Users, u)
	}
	return nil
}

func (l *loader) readRules(f yamlFile, e *ast.MappingValueNode) error {
	if e == nil {
		return nil
	}
	items, err := f.items(e, "- address: orders.*")
	if err != nil {
		return err
	}
	for _, item := range items {
		var r auth.Rule
		err := f.fields(item, "address: orders.*", map[string]func(ast.Node) error{
			"address": text(&r.Address),
			"read":    l.names(&r.Read),
			"write":   l.names(&r.Write),
			"admin":   l.names(&r.Admin),
		})
		if err != nil {
			return err
		}
		if err := auth.CheckPattern(r.Address); err != nil {
			return f.fail(item, "rules: %w", err)
		}
		l.c.Rules = append(l.c.Rules, r)
	}
	return nil
}

// checkGuest refuses a name that no client could have.
func (l *loader) checkGuest() error {
	c := l.c
	switch {
	case c.AnonymousUser == "":
	case !slices.ContainsFunc(c.Users, func(u auth.User) bool { return u.Name == c.AnonymousUser }):
		return l.fail(keyGuest, fmt.Errorf("%q is not a user: add it under users", c.AnonymousUser))
	case c.Anonymous == "" || c.Anonymous == string(auth.None):
		return l.fail(keyGuest, errors.New("no client is admitted without a login: set anonymous to loopback or any"))
	}
	return nil
}

// names reads users of a rule: they must be configured, so that a slip of the
// pen is not a closed door.
func (l *loader) names(to *[]string) func(ast.Node) error {
	return func(n ast.Node) error {
		var words []string
		var err error
		if list, ok := n.(*ast.SequenceNode); ok {
			words, err = scalars(list)
		} else {
			var one string
			if one, err = scalar(n); err == nil {
				words = []string{one}
			}
		}
		if err != nil {
			return err
		}
		for _, w := range words {
			if w != auth.Everyone && !slices.ContainsFunc(l.c.Users, func(u auth.User) bool { return u.Name == w }) {
				return fmt.Errorf("%q is not a user: add it under users, or write \"*\" for everyone", w)
			}
		}
		*to = words
		return nil
	}
}
