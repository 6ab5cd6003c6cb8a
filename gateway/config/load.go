package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// EnvConfig is the environment's name of the configuration file.
const EnvConfig = "SELVEDGE_CONFIG"

// Source says where the settings come from. What is later in this list wins:
// defaults, File, Env, Flags.
type Source struct {
	File   string                      // of YAML; empty means the one that [EnvConfig] names, if any
	Env    func(string) (string, bool) // as os.LookupEnv; nil means an empty environment
	Flags  *Config                     // holds what the flags say
	Passed []string                    // names of the settings that were passed as flags
}

type loader struct {
	c       *Config
	origins map[string]string // by the setting's name
}

// Load puts the layers together and checks the result. The error is one line
// that names the setting in all its spellings.
func Load(src Source) (*Config, error) {
	if src.Env == nil {
		src.Env = func(string) (string, bool) { return "", false }
	}
	l := &loader{c: &Config{}, origins: make(map[string]string)}
	settings := Settings()
	l.defaults(settings)
	file := src.File
	if file == "" {
		file, _ = src.Env(EnvConfig)
	}
	l.c.File = file
	if file != "" {
		if err := l.readFile(file); err != nil {
			return nil, err
		}
	}
	if err := l.environment(settings, src.Env); err != nil {
		return nil, err
	}
	l.flags(settings, src)
	if err := l.complete(); err != nil {
		return nil, err
	}
	if err := l.validate(); err != nil {
		return nil, err
	}
	return l.c, nil
}

func (l *loader) defaults(settings []Setting) {
	for _, s := range settings {
		if s.Default == "" {
			continue
		}
		if err := s.set(l.c, s.Default); err != nil {
			panic("config: the default of " + s.Name + " is wrong: " + err.Error())
		}
	}
}

func (l *loader) flags(settings []Setting, src Source) {
	for _, s := range settings {
		if slices.Contains(src.Passed, s.Name) {
			s.copy(l.c, src.Flags)
			l.origins[s.Name] = s.Flag()
		}
	}
}

func (l *loader) environment(settings []Setting, env func(string) (string, bool)) error {
	for _, s := range settings {
		text, ok := env(s.Env())
		if !ok || text == "" && s.needsText() {
			continue
		}
		if err := s.set(l.c, text); err != nil {
			return &Error{Origin: s.Env(), Setting: s.Name, Err: err}
		}
		l.origins[s.Name] = s.Env()
	}
	return nil
}

// complete finds the settings that are not given as such: the node's name and
// the secret's text.
func (l *loader) complete() error {
	if l.c.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return l.fail("node", fmt.Errorf("the host has no name: name the node: %w", err))
		}
		l.c.Node = nameOf(host)
	}
	if l.c.SecretFile == "" {
		return nil
	}
	if l.c.Secret != "" {
		return l.fail("secret-file", errors.New("secret is set too: remove one of them"))
	}
	text, err := os.ReadFile(l.c.SecretFile)
	if err != nil {
		return l.fail("secret-file", err)
	}
	l.c.Secret = strings.TrimSpace(string(text))
	if l.c.Secret == "" {
		return l.fail("secret-file", fmt.Errorf("%s is empty", l.c.SecretFile))
	}
	return nil
}

// nameOf makes a node's name of a host name.
func nameOf(host string) string {
	name := []byte(host)
	for i, b := range name {
		if !isNameByte(b) {
			name[i] = '-'
		}
	}
	cut := strings.TrimLeft(string(name[:min(len(name), maxName)]), "-_")
	if cut == "" {
		return "node"
	}
	return cut
}

func (l *loader) fail(setting string, err error) error {
	return &Error{Origin: l.origins[setting], Setting: setting, Err: err}
}
