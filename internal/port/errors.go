package port

import (
	"errors"
	"slices"
	"strings"
)

// Kinds of failure that a caller tells apart with errors.Is. The message of the
// error that carries one is a whole sentence with the place and the cure.
var (
	// ErrNamespaceMissing: there is no such network namespace (yet).
	ErrNamespaceMissing = errors.New("network namespace missing")
	// ErrDeviceMissing: the device is to be attached to and does not exist (any more).
	ErrDeviceMissing = errors.New("device missing")
	// ErrDeviceBusy: the device exists and another process holds it.
	ErrDeviceBusy = errors.New("device busy")
	// ErrWrongKind: an interface of that name exists and cannot serve as this port.
	ErrWrongKind = errors.New("wrong kind of interface")
	// ErrNoTUN: /dev/net/tun is missing or may not be opened.
	ErrNoTUN = errors.New("no /dev/net/tun")
	// ErrPermission: a capability is missing.
	ErrPermission = errors.New("capability missing")
	// ErrMemberMissing: a device that is to join the bridge does not exist.
	ErrMemberMissing = errors.New("bridge member missing")
	// ErrGatewayConflict: the namespace has another default route.
	ErrGatewayConflict = errors.New("default route exists")
	// ErrNeedsReopen: the change cannot be made on the open device.
	ErrNeedsReopen = errors.New("the port must be reopened")
	// ErrClosed: the device was closed.
	ErrClosed = errors.New("port closed")
	// ErrSpec: the Spec contradicts itself or is out of range.
	ErrSpec = errors.New("bad port specification")
)

// fault is an error whose sentence stands by itself, while its kind and its cause
// are found by errors.Is.
type fault struct {
	kind  error
	text  string
	cause error // may be nil
}

func (f *fault) Error() string { return f.text }

func (f *fault) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

// failures are the errors of steps that were all tried; in a log they are one line.
type failures []error

func (f failures) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (f failures) Unwrap() []error { return f }

// together makes one error of those that are not nil; nil if none is left.
func together(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return failures(errs)
}
