package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting describes one field of [Config] that has three spellings.
type Setting struct {
	Name        string // "send-timeout"
	Group       string
	Default     string
	Placeholder string // of the value: "DIR"
	Help        string

	field int
}

// Settings lists the settings in the order of their fields.
func Settings() []Setting {
	t := reflect.TypeFor[Config]()
	var all []Setting
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		if name := tag.Get("name"); name != "" {
			all = append(all, Setting{
				Name: name, Group: tag.Get("group"), Default: tag.Get("default"),
				Placeholder: tag.Get("value") + tag.Get("placeholder"), Help: tag.Get("help"), field: i,
			})
		}
	}
	return all
}

// Flag returns the setting's spelling on the command line.
func (s Setting) Flag() string { return "--" + s.Name }

// Env returns the setting's name in the environment.
func (s Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Key returns the setting's spelling in the file.
func (s Setting) Key() string { return s.Name + ":" }

// Bounds returns the least and the greatest value as they are spelled, and
// whether there are any.
func (s Setting) Bounds() (low, high string, ok bool) {
	if r, ok := ranges[s.Name]; ok {
		return s.spell(r.low), s.spell(r.high), true
	}
	if r, ok := periods[s.Name]; ok {
		return plain(r.low), plain(r.high), true
	}
	return "", "", false
}

// spell spells a number of the setting.
func (s Setting) spell(n int) string {
	if reflect.TypeFor[Config]().Field(s.field).Type == reflect.TypeFor[Size]() {
		return Size(n).String()
	}
	return strconv.Itoa(n)
}

// plain spells a duration without the parts that are zero: "1h", not "1h0m0s".
func plain(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// set reads text into the setting's field.
func (s Setting) set(c *Config, text string) error {
	v := reflect.ValueOf(c).Elem().Field(s.field)
	switch p := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *string:
		*p = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*p = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration: write for example 500ms, 10s or 5m", text)
		}
		*p = d
	default:
		panic("config: the field " + s.Name + " has a type that cannot be read")
	}
	return nil
}

// needsText reports whether an empty text is no value of the setting, so that an
// empty variable in the environment counts as absent.
func (s Setting) needsText() bool {
	t := reflect.TypeFor[Config]().Field(s.field).Type
	return t.Kind() != reflect.String && !s.list()
}

// list reports whether the file may spell the value as a sequence.
func (s Setting) list() bool {
	return reflect.TypeFor[Config]().Field(s.field).Type == reflect.TypeFor[List]()
}

// known reports whether there is a setting of that name.
func (s Setting) known() bool {
	return slices.ContainsFunc(Settings(), func(o Setting) bool { return o.Name == s.Name })
}

func (s Setting) copy(to, from *Config) {
	reflect.ValueOf(to).Elem().Field(s.field).Set(reflect.ValueOf(from).Elem().Field(s.field))
}

// An Error says what is wrong with a setting, where it was made, and how to spell it.
type Error struct {
	Origin  string // "selvedge.yaml:3", "SELVEDGE_REPLICAS", "--replicas"; may be empty
	Setting string // its name; empty when the file as a whole is wrong
	Err     error  // what is wrong and what to write instead
}

// Error returns one line.
func (e *Error) Error() string {
	s := ""
	if e.Origin != "" {
		s = e.Origin + ": "
	}
	if e.Setting == "" {
		return s + e.Err.Error()
	}
	set := Setting{Name: e.Setting}
	if e.Origin != set.Flag() && e.Origin != set.Env() {
		s += e.Setting + ": "
	}
	return fmt.Sprintf("%s%v (set it by %s, %s or %s in the file)", s, e.Err, set.Flag(), set.Env(), set.Key())
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

var errNoValue = errors.New(`it has no value: write "" for an empty one`)
