package config

import (
	"reflect"
	"slices"
)

// reloaded are the settings that are in force as soon as the file has them.
var reloaded = []string{"anonymous", keyGuest}

// Differences lists the settings, and listeners, that differ between two
// configurations and are read at the start alone: not the users, the rules and
// who is admitted without a login.
func Differences(a, b *Config) []string {
	var names []string
	for _, s := range Settings() {
		if !slices.Contains(reloaded, s.Name) && !reflect.DeepEqual(s.of(a), s.of(b)) {
			names = append(names, s.Name)
		}
	}
	if !slices.Equal(a.Listeners, b.Listeners) {
		names = append(names, keyListeners)
	}
	return names
}

// of returns the setting's field.
func (s Setting) of(c *Config) any { return reflect.ValueOf(c).Elem().Field(s.field).Interface() }
