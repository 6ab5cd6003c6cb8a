package golden

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
)

// Show writes a value as the files do: a struct as its name and the fields that
// are not zero, an optional field as its value, bytes in hex.
func Show(v any) string { return show(reflect.ValueOf(v)) }

func show(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Invalid:
		return "null"
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "null"
		}
		return showTyped(v)
	case reflect.Struct:
		return showStruct(v)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return showBytes(v)
		}
		return showAll(v)
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	default:
		return fmt.Sprint(v.Interface())
	}
}

// showTyped names the type of a number or text behind an interface.
func showTyped(v reflect.Value) string {
	in := v.Elem()
	if v.Kind() == reflect.Interface && in.Kind() != reflect.Struct && in.Kind() != reflect.Slice {
		return in.Type().Name() + " " + show(in)
	}
	return show(in)
}

func showBytes(v reflect.Value) string {
	b := make([]byte, v.Len())
	reflect.Copy(reflect.ValueOf(b), v)
	return "x" + hex.EncodeToString(b)
}

func showAll(v reflect.Value) string {
	s := make([]string, v.Len())
	for i := range s {
		s[i] = show(v.Index(i))
	}
	return "[" + strings.Join(s, " ") + "]"
}

func showStruct(v reflect.Value) string {
	name, _, generic := strings.Cut(v.Type().Name(), "[")
	if generic {
		return show(v.Field(0)) // an optional field: only those that are set get here
	}
	var s []string
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() {
			continue
		}
		s = append(s, v.Type().Field(i).Name+": "+show(f))
	}
	return name + "{" + strings.Join(s, ", ") + "}"
}
