package router

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"vrouterd/internal/capture"
	"vrouterd/internal/control/api"
	"vrouterd/pkg/dataplane"
)

// captureDepth is how many packets a capture may fall behind.
const captureDepth = 4096

// Capture writes what passes the asked-for stages to w, as pcapng, until ctx ends
// or there were enough. The filter runs here, not in the dataplane.
func (r *Router) Capture(ctx context.Context, q api.CaptureRequest, w api.FlushWriter) error {
	tap, err := r.newTap(q)
	if err != nil {
		return err
	}
	ethernetFilter, err := capture.CompileFilter(q.Filter, true)
	if err != nil {
		return usage(err)
	}
	ipFilter, err := capture.CompileFilter(q.Filter, false)
	if err != nil {
		return usage(err)
	}
	if err := r.setTap(tap, true); err != nil {
		return err
	}
	defer r.setTap(tap, false)
	out, err := capture.NewWriter(w, capture.Section{Hardware: runtime.GOARCH, OS: runtime.GOOS, App: "vrouterd " + r.opt.Version}, nil)
	if err != nil {
		return err
	}
	w.Flush() // the reader sees that the capture is on

	c := &capturing{r: r, out: out, interfaces: map[interfaceKey]int{}}
	for n := 0; q.Count == 0 || n < q.Count; {
		select {
		case <-ctx.Done():
			return nil
		case <-r.stopped:
			return errStopped
		case t := <-tap.C:
			tap.Took(&t)
			filter := ipFilter
			if t.Ethernet {
				filter = ethernetFilter
			}
			if !filter.Match(t.Frame) {
				continue
			}
			if err := c.write(&t, tap); err != nil {
				return nil // the client has gone
			}
			if len(tap.C) == 0 {
				w.Flush()
			}
			n++
		}
	}
	w.Flush()
	return nil
}

// capturing is one capture on its way out.
type capturing struct {
	r          *Router
	out        *capture.Writer
	interfaces map[interfaceKey]int // described in the file so far
	lost       uint64
}

// interfaceKey is what makes two interfaces of the file the same.
type interfaceKey struct {
	port     dataplane.PortID
	ethernet bool
}

// write turns a record of the dataplane into one of the file.
func (c *capturing) write(t *dataplane.Tapped, tap *dataplane.Tap) error {
	key := interfaceKey{t.Port, t.Ethernet}
	index, ok := c.interfaces[key]
	if !ok {
		var err error
		if index, err = c.out.AddInterface(c.describe(key)); err != nil {
			return err
		}
		c.interfaces[key] = index
	}
	return c.out.Packet(capture.Packet{
		Interface: index, Time: c.r.started.Add(time.Duration(t.At)), Data: t.Frame, Length: t.Length,
		Comment: c.comment(t, tap), Direction: direction(t),
	})
}

// describe is an interface of the file, for a port that may have come after the capture began.
func (c *capturing) describe(key interfaceKey) capture.Interface {
	i := capture.Interface{Name: "router", Ethernet: key.ethernet} // its own packets, before they have a port
	if key.port != 0 {
		c.r.do(func() {
			i.Name = c.r.portName(uint32(key.port))
			if p := c.r.byID[key.port]; p != nil {
				i.MTU = p.cfg.MTU
			}
		})
	}
	return i
}

// comment says in words what the bytes do not show.
func (c *capturing) comment(t *dataplane.Tapped, tap *dataplane.Tap) string {
	words := []string{"stage " + t.Stage.String()}
	if t.Stage == dataplane.StageDrop {
		words = append(words, "drop "+t.Drop.String()+": "+t.Drop.Description())
	}
	if t.GSOSize > 0 {
		words = append(words, fmt.Sprintf("super-frame of segments of %d octets", t.GSOSize))
	}
	if t.Partial {
		words = append(words, "checksum left to the device")
	}
	if t.Own {
		words = append(words, "sent by the router")
	}
	if lost := tap.Lost(); lost != c.lost {
		words = append(words, plural(int(lost-c.lost), "packet")+" lost before this one: the reader is too slow")
		c.lost = lost
	}
	return strings.Join(words, "; ")
}

func direction(t *dataplane.Tapped) capture.Direction {
	if t.Stage == dataplane.StageTx || t.Own {
		return capture.Outbound
	}
	return capture.Inbound
}

// newTap reads a request.
func (r *Router) newTap(q api.CaptureRequest) (*dataplane.Tap, error) {
	if q.Snaplen < 0 || q.Count < 0 {
		return nil, &api.Error{Code: api.Usage, Message: "the snap length and the count cannot be negative"}
	}
	tap := &dataplane.Tap{Snaplen: q.Snaplen, C: make(chan dataplane.Tapped, captureDepth)}
	for _, name := range q.Stages {
		stage, ok := dataplane.ParseStage(name)
		if !ok {
			return nil, &api.Error{Code: api.Usage, Message: fmt.Sprintf("there is no stage %q; the stages are rx, punt, drop and tx", name)}
		}
		tap.Stages[stage] = true
	}
	if len(q.Stages) == 0 {
		tap.Stages[dataplane.StageRx], tap.Stages[dataplane.StageTx], tap.Stages[dataplane.StageDrop] = true, true, true
	}
	var err error
	stopped := r.do(func() {
		for _, name := range q.Ports {
			p := r.ports[name]
			if p == nil {
				err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q; the ports are %s", name, r.portNames())}
				return
			}
			if tap.Ports == nil {
				tap.Ports = map[dataplane.PortID]bool{}
			}
			tap.Ports[p.id] = true
		}
	})
	return tap, errors.Join(stopped, err)
}

// setTap begins or ends a capture in the dataplane.
func (r *Router) setTap(tap *dataplane.Tap, on bool) error {
	return r.do(func() {
		if on {
			r.fwd.taps = append(r.fwd.taps, tap)
		} else if i := slices.Index(r.fwd.taps, tap); i >= 0 {
			r.fwd.taps = slices.Delete(slices.Clone(r.fwd.taps), i, i+1)
		}
		r.fwd.dirty = true
	})
}
