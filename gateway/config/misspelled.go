package config

import (
	"slices"
	"strings"
)

const envPrefix = "SELVEDGE_"

// otherVariables are those of the other verbs: they are nobody's slip of the pen.
var otherVariables = []string{"SERVER", "USER", "PASSWORD", "PROTOCOL", "TLS", "CA", "CERT", "KEY"}

// Misspelled is a variable of the environment that no setting reads, and the one that
// was probably meant.
type Misspelled struct{ Name, Meant string }

// FindMisspelled returns the variables, given as os.Environ does, whose names differ
// from that of a setting by a letter or two.
func FindMisspelled(environment []string) []Misspelled {
	settings := Settings()
	known := make([]string, 0, len(settings)+1)
	known = append(known, strings.TrimPrefix(EnvConfig, envPrefix))
	for _, s := range settings {
		known = append(known, strings.TrimPrefix(s.Env(), envPrefix))
	}
	var out []Misspelled
	for _, v := range environment {
		full, _, _ := strings.Cut(v, "=")
		name, ours := strings.CutPrefix(full, envPrefix)
		if !ours || slices.Contains(known, name) || slices.Contains(otherVariables, name) {
			continue
		}
		if meant := nearest(name, known); meant != "" {
			out = append(out, Misspelled{Name: full, Meant: envPrefix + meant})
		}
	}
	return out
}
