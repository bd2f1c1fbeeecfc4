package main

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"strconv"
	"strings"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

// end of a session: an address, and perhaps a port (of ICMP, the identifier).
type end struct{ address, port string }

// parseEnd reads ADDRESS[:PORT].
func parseEnd(s string) (e end, err error) {
	address, port, has := strings.Cut(s, ":")
	if a, err := netip.ParseAddr(address); err != nil || !a.Is4() {
		return e, usagef("%q is not an address like 192.168.1.5 or 192.168.1.5:8080", s)
	}
	if has {
		if _, err := number("port", port, 0, 1<<16-1); err != nil {
			return e, err
		}
	}
	return end{address, port}, nil
}

// is tells whether s, as sessions write it, is this end.
func (e end) is(s string) bool {
	address, port, _ := strings.Cut(s, ":")
	return e.address == address && same(e.port, port)
}

// ends are the words inside, outside and remote of a condition, and what else sessions and mappings share.
type ends struct {
	subject                           end
	inside, outside, remote, protocol string
}

func parseEnds(noun string, args []string, more map[string]word) (w ends, err error) {
	first, args, err := subject(noun, args, "an address, like 192.168.1.5 or 192.168.1.5:8080,")
	if err != nil {
		return w, err
	}
	if w.subject, err = parseEnd(first); err != nil {
		return w, err
	}
	anEnd := func(_, value string) error {
		_, err := parseEnd(value)
		return err
	}
	more["inside"], more["outside"], more["remote"] = word{&w.inside, anEnd}, word{&w.outside, anEnd}, word{&w.remote, anEnd}
	more["protocol"] = word{&w.protocol, protocolWord}
	err = pairs(args, more)
	return w, err
}

// query asks for as little as the daemon can tell apart.
func (w ends) query() api.SessionQuery {
	q := api.SessionQuery{Address: w.subject.address, Protocol: w.protocol}
	q.Port, _ = strconv.Atoi(w.subject.port) // 0 where there is none
	return q
}

func (w ends) about(inside, outside, remote string) bool {
	return w.subject.is(inside) || w.subject.is(outside) || w.subject.is(remote)
}

func (w ends) hold(inside, outside, remote string) bool {
	for _, k := range []struct{ want, have string }{{w.inside, inside}, {w.outside, outside}, {w.remote, remote}} {
		if e, err := parseEnd(k.want); k.want != "" && (err != nil || !e.is(k.have)) {
			return false
		}
	}
	return true
}

// paged is a table that comes in pages.
func paged[T any](pages func(*client.Client, context.Context, api.SessionQuery) iter.Seq2[client.Part[T], error], q api.SessionQuery) rows[T] {
	return func(ctx context.Context, c *client.Client, each func(T) bool) error {
		for part, err := range pages(c, ctx, q) {
			if err != nil {
				return err
			}
			for _, row := range part.Rows {
				if !each(row) {
					return nil
				}
			}
		}
		return nil
	}
}

func sessionCondition(args []string) (test, error) {
	var state string
	w, err := parseEnds("session", args, map[string]word{"state": {into: &state}})
	if err != nil {
		return nil, err
	}
	return among[api.Session]{
		rows:  paged((*client.Client).Sessions, w.query()),
		about: func(s api.Session) bool { return w.about(s.Inside, s.Outside, s.Remote) },
		holds: func(s api.Session) bool { return same(state, s.State) && w.hold(s.Inside, s.Outside, s.Remote) },
		words: func(s api.Session) string { return "the " + sessionWords(s) },
		begin: "there is ",
		none:  "there is no " + strings.TrimSpace(w.protocol+" session of ") + " " + args[0],
	}.test, nil
}

func mappingCondition(args []string) (test, error) {
	var by string
	w, err := parseEnds("mapping", args, map[string]word{"by": {into: &by}})
	if err != nil {
		return nil, err
	}
	return among[api.NATMapping]{
		rows:  paged((*client.Client).Mappings, w.query()),
		about: func(m api.NATMapping) bool { return w.about(m.Inside, m.Outside, m.Remote) },
		holds: func(m api.NATMapping) bool { return same(by, m.By) && w.hold(m.Inside, m.Outside, m.Remote) },
		words: func(m api.NATMapping) string {
			s := fmt.Sprintf("the %s mapping of %s to %s", m.Protocol, m.Inside, m.Outside)
			if m.Remote != "" {
				s += " for " + m.Remote
			}
			return s + " by " + m.By
		},
		begin: "there is ",
		none:  "NAT has no " + strings.TrimSpace(w.protocol+" mapping of ") + " " + args[0],
	}.test, nil
}

// sessionWords tell a session: "tcp session 10.1.0.2:40000 as 192.0.2.1:40000 with 203.0.113.7:443 (established)".
func sessionWords(s api.Session) string {
	words := s.Protocol + " session " + s.Inside
	if s.Outside != s.Inside {
		words += " as " + s.Outside
	}
	return words + " with " + s.Remote + " (" + s.State + ")"
}
