package router

import (
	"vrouterd/internal/port"
)

// TUNTAP attaches ports to TUN/TAP devices.
type TUNTAP struct{ watcher *port.Watcher }

// NewTUNTAP starts the watcher of kernel ends.
func NewTUNTAP() *TUNTAP { return &TUNTAP{port.NewWatcher()} }

// Open makes or finds the device of a port.
func (*TUNTAP) Open(s port.Spec) (Device, error) {
	d, err := port.Open(s)
	if err != nil {
		return nil, err // not a nil *port.Device in a Device
	}
	return d, nil
}

// Watch begins to tell of a device's changes.
func (t *TUNTAP) Watch(_ string, d Device) error { return t.watcher.Watch(d.(*port.Device)) }

// Unwatch ends it.
func (t *TUNTAP) Unwatch(name string) { t.watcher.Unwatch(name) }

// Events are the changes.
func (t *TUNTAP) Events() <-chan port.Event { return t.watcher.Events() }

// Close stops the watcher.
func (t *TUNTAP) Close() { t.watcher.Close() }
