package interop

import "github.com/go-stomp/stomp/v3"

// Quiet returns a logger of go-stomp that says nothing.
func Quiet() stomp.Logger { return quiet{} }

type quiet struct{}

func (quiet) Debugf(string, ...any)   {}
func (quiet) Infof(string, ...any)    {}
func (quiet) Warningf(string, ...any) {}
func (quiet) Errorf(string, ...any)   {}
func (quiet) Debug(string)            {}
func (quiet) Info(string)             {}
func (quiet) Warning(string)          {}
func (quiet) Error(string)            {}
