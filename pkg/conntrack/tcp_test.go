package conntrack

import (
	"strconv"
	"strings"
	"testing"

	"vrouterd/internal/packet"
)

// segment of a direction whose key is k.
func segment(k Key, flags uint8, seq, ack uint32, payload int) *Parsed {
	p := &Parsed{Key: k, Class: ClassContinues, Flags: flags, Seq: seq, Ack: ack, Window: 65535, Header: 20, Payload: payload, Length: 40 + payload, Count: 1}
	if flags&(packet.TCPSyn|packet.TCPAck) == packet.TCPSyn {
		p.Class = ClassOpens
	}
	return p
}

func syn(k Key, seq uint32) *Parsed { return segment(k, packet.TCPSyn, seq, 0, 0) }

const (
	isn0 = 0xffffff00 // of the original direction: its numbers wrap around
	isn1 = 5000
)

// connection is a TCP session in a dialogue.
type connection struct {
	*world
	key Key
	s   *Session
}

func (w *world) connection(flags Flags) *connection {
	k := MakeKey(protocolTCP, client, 40000, server, 80)
	if flags&FromOutside != 0 {
		k = MakeKey(protocolTCP, server, 40000, client, 80)
	}
	return &connection{world: w, key: k, s: w.open(New{Original: k, Reply: k.Reverse(), Flags: flags}, syn(k, isn0))}
}

// say parses one line of a dialogue: who (> original, < reply), flags, and optional fields: seq= and ack= relative to the initial
// numbers of either side, len=, win=, scale=.
func (c *connection) say(line string) Reason {
	c.t.Helper()
	words := strings.Fields(line)
	d, own, other := Original, uint32(isn0), uint32(isn1)
	if words[0] == "<" {
		d, own, other = Reply, isn1, isn0
	}
	p := segment(c.s.Key(d), 0, own, 0, 0)
	for _, flag := range strings.Split(words[1], "+") {
		f, known := map[string]uint8{"syn": packet.TCPSyn, "ack": packet.TCPAck, "fin": packet.TCPFin, "rst": packet.TCPRst}[flag]
		if !known {
			c.t.Fatalf("no flag is called %q", flag)
		}
		p.Flags |= f
	}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			c.t.Fatal(err)
		}
		switch name {
		case "seq":
			p.Seq = own + uint32(n)
		case "ack":
			p.Ack = other + uint32(n)
		case "len":
			p.Payload = n
		case "win":
			p.Window = uint16(n)
		case "scale":
			p.Scale = uint8(n) + 1
		default:
			c.t.Fatalf("no field is called %q", name)
		}
	}
	return c.s.Update(c.table, c.now, d, p, false)
}

// dialogue has lines of segments, each with the state that follows behind "->"; "!" names a refusal.
func (c *connection) dialogue(text string) {
	c.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		say, want, found := strings.Cut(line, "->")
		if !found {
			continue
		}
		want = strings.TrimSpace(want)
		reason, refused := strings.CutPrefix(want, "! ")
		r := c.say(strings.TrimSpace(say))
		if refused && r.String() != "session_"+reason {
			c.t.Errorf("%s: got %v in %v", line, r, c.s.State())
		}
		if !refused && (r != ReasonNone || c.s.State().String() != want) {
			c.t.Errorf("%s: got %v, state %v", line, r, c.s.State())
		}
	}
}

const handshake = `
	< syn+ack ack=1       -> syn_received
	> ack seq=1 ack=1     -> established
`

func TestDialogues(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"open and close", handshake + `
			> ack seq=1 ack=1 len=100     -> established
			< ack seq=1 ack=101 len=3000  -> established
			> fin+ack seq=101 ack=3001    -> fin_wait
			< ack seq=3001 ack=102        -> close_wait
			< ack seq=3001 ack=102 len=10 -> close_wait
			> ack seq=102 ack=3011        -> close_wait
			< fin+ack seq=3011 ack=102    -> last_ack
			> ack seq=102 ack=3012        -> time_wait
			< fin+ack seq=3011 ack=102    -> time_wait
			> ack seq=102 ack=3012        -> time_wait`},
		{"the server ends, the client with it", handshake + `
			< fin+ack seq=1 ack=1         -> fin_wait
			> fin+ack seq=1 ack=2         -> last_ack
			< ack seq=2 ack=2             -> time_wait`},
		{"openings that are sent again", `
			> syn                         -> syn_sent
			> syn                         -> syn_sent
			< syn+ack ack=1               -> syn_received
			< syn+ack ack=1               -> syn_received
			> syn                         -> syn_received
			> ack seq=1 ack=1             -> established
			< syn+ack ack=1               -> established
			> ack seq=1 ack=1             -> established`},
		{"a FIN that is sent again", handshake + `
			> fin+ack seq=1 ack=1         -> fin_wait
			> fin+ack seq=1 ack=1         -> fin_wait
			< ack seq=1 ack=1 len=5       -> fin_wait
			< ack seq=6 ack=2             -> close_wait
			> fin+ack seq=1 ack=6         -> close_wait`},
		{"simultaneous open", `
			< syn                         -> syn_sent2
			> syn                         -> syn_sent2
			> syn+ack ack=1               -> syn_received
			< syn+ack ack=1               -> syn_received
			> ack seq=1 ack=1 len=1       -> established
			< ack seq=1 ack=2             -> established`},
		{"simultaneous close", handshake + `
			> fin+ack seq=1 ack=1         -> fin_wait
			< fin+ack seq=1 ack=1         -> last_ack
			< ack seq=2 ack=2             -> last_ack
			> ack seq=2 ack=2             -> time_wait`},
		{"a simultaneous close in which the FINs acknowledge, sent again", handshake + `
			> fin+ack seq=1 ack=1         -> fin_wait
			< fin+ack seq=1 ack=1         -> last_ack
			> fin+ack seq=1 ack=2         -> last_ack
			< fin+ack seq=1 ack=2         -> time_wait`},
		{"refused by the server", `
			< rst+ack seq=-5000 ack=1     -> reset
			> syn                         -> syn_sent
			< syn+ack ack=1               -> syn_received`},
		{"a reset of an opening must acknowledge it", `
			< rst+ack seq=-5000 ack=2     -> ! tcp_window
			< rst+ack seq=-5000 ack=0     -> ! tcp_window
			< rst seq=0                   -> ! tcp_state
			< syn+ack ack=1               -> syn_received`},
		{"half-open connection found out (RFC 9293 section 3.5.1)", `
			< ack seq=900 ack=-77777      -> syn_sent
			> rst seq=-77777              -> syn_sent
			> syn                         -> syn_sent
			< syn+ack ack=1               -> syn_received
			> ack seq=1 ack=1             -> established`},
		{"old duplicate SYN (RFC 9293 figure 8)", `
			< syn+ack ack=-400            -> syn_sent
			> rst seq=-400                -> syn_sent
			< syn+ack ack=1               -> syn_received
			> ack seq=1 ack=1             -> established`},
		{"the opener gives up", `
			> rst seq=1                   -> reset
			< syn+ack ack=1               -> reset
			> rst seq=1                   -> reset`},
		{"reset in the middle", handshake + `
			< ack seq=1 ack=1 len=1000    -> established
			< rst seq=1001                -> reset
			> ack seq=1 ack=1             -> reset
			< rst seq=1                   -> reset
			< syn                         -> ! tcp_state
			> syn seq=900000              -> syn_sent`},
		{"resets outside of the window", handshake + `
			< rst seq=70000               -> ! tcp_window
			< rst seq=-70000              -> ! tcp_window
			> rst seq=200000              -> ! tcp_window
			> ack seq=1 ack=1             -> established`},
		{"a reset that was not the server's", handshake + `
			< rst seq=5                   -> reset
			< ack seq=1 ack=1 len=4       -> reset
			< ack seq=5 ack=1 len=100     -> established
			> ack seq=1 ack=105           -> established`},
		{"the port is used again", handshake + `
			> fin+ack seq=1 ack=1         -> fin_wait
			< fin+ack seq=1 ack=2         -> last_ack
			> ack seq=2 ack=2             -> time_wait
			< syn seq=90000               -> ! tcp_state
			> syn seq=70000               -> syn_sent
			< syn+ack seq=90000 ack=70001 -> syn_received
			> ack seq=70001 ack=90001     -> established`},
		{"the port is used again before the end", handshake + `
			> fin+ack seq=1 ack=1         -> fin_wait
			< fin+ack seq=1 ack=2         -> last_ack
			> syn seq=70000               -> syn_sent`},
		{"the client has forgotten, the server has not (RFC 5961 section 4)", handshake + `
			> syn seq=700000              -> established
			< ack seq=1 ack=1             -> established
			> rst seq=1                   -> reset
			> syn seq=700000              -> syn_sent`},
		{"both have forgotten", handshake + `
			> syn seq=700000              -> established
			< syn+ack seq=80000 ack=700001 -> syn_received
			> ack seq=700001 ack=80001    -> established
			< rst seq=1                   -> ! tcp_window
			< rst seq=80001               -> reset`},
		{"a SYN-ACK that nobody asked for", handshake + `
			< syn+ack seq=80000 ack=700001 -> established
			< rst seq=80001               -> ! tcp_window
			> fin+ack seq=1 ack=1         -> fin_wait
			< syn+ack seq=80000 ack=700001 -> fin_wait`},
		{"data with the SYN", `
			> syn len=500                 -> syn_sent
			< syn+ack ack=501             -> syn_received
			< ack seq=1 ack=501 len=1400  -> syn_received
			> ack seq=501 ack=1401        -> established`},
		{"data with the SYN, of which the server takes none", `
			> syn len=500                 -> syn_sent
			< syn+ack ack=1               -> syn_received
			> ack seq=1 ack=1 len=500     -> established`},
		{"segments before the answer", `
			> ack seq=1 ack=1             -> ! tcp_state
			> fin+ack seq=1 ack=1         -> ! tcp_state
			> syn+ack ack=1               -> ! tcp_state
			< fin+ack ack=1               -> ! tcp_state`},
		{"a stray FIN moves nothing", handshake + `
			< fin+ack seq=500000 ack=1    -> established
			< ack seq=1 ack=1             -> established`},
		{"super-frames", handshake + `
			< ack seq=1 ack=1 len=64000     -> established
			< ack seq=64001 ack=1 len=64000 -> established
			> ack seq=1 ack=128001          -> established
			< rst seq=128001                -> reset`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.connection(0).dialogue(c.text)
		})
	}
}

func TestStrictModeDropsWhatIsOutsideOfTheWindow(t *testing.T) {
	w := newWorld(t, Config{Window: WindowStrict})
	c := w.connection(0)
	c.dialogue(`
		< syn+ack ack=1 win=1000           -> syn_received
		> ack seq=1 ack=1                  -> established
		> ack seq=1 ack=1 len=1000         -> established
		> ack seq=2000 ack=1 len=10        -> ! tcp_window
		> ack seq=1 ack=2 len=10           -> ! tcp_window
		< ack seq=1 ack=2000               -> ! tcp_window
		< ack seq=1 ack=1001 win=0         -> established
		> ack seq=1001 ack=1 len=1         -> established
		< ack seq=1 ack=1002 win=1000      -> established
		> ack seq=0 ack=1                  -> established
		> ack seq=-1100 ack=1              -> ! tcp_window`)
	if n := w.table.Counts().Refused[ReasonTCPWindow]; n != 4 {
		t.Errorf("%d refusals were counted", n)
	}
}

func TestWindowScaleIsUsedIfBothOfferIt(t *testing.T) {
	for _, c := range []struct{ offer, answer, text string }{
		{"scale=3", "scale=5", `
			< ack seq=1 ack=1 len=60000      -> established
			< ack seq=400000 ack=1 len=60000 -> established
			< ack seq=525000 ack=1 len=60000 -> ! tcp_window`},
		{"scale=3", "", `
			< ack seq=1 ack=1 len=60000      -> established
			< ack seq=66000 ack=1 len=60000  -> ! tcp_window`},
		{"", "scale=5", `
			< ack seq=1 ack=1 len=60000      -> established
			< ack seq=66000 ack=1 len=60000  -> ! tcp_window`},
	} {
		w := newWorld(t, Config{Window: WindowStrict})
		x := w.connection(0)
		x.dialogue("> syn " + c.offer + " -> syn_sent\n< syn+ack ack=1 " + c.answer + " -> syn_received\n> ack seq=1 ack=1 -> established\n" + strings.TrimSpace(c.text))
	}
}

func TestWithoutWindowsEveryResetPasses(t *testing.T) {
	w := newWorld(t, Config{Window: WindowOff})
	w.connection(0).dialogue(handshake + `
		< ack seq=700000 ack=1 len=10 -> established
		< rst seq=9000000             -> reset`)
}

func TestStrictModeSparesWhatStrayedBefore(t *testing.T) {
	w := newWorld(t, Config{})
	c := w.connection(0)
	c.dialogue(handshake + `
		< ack seq=700000 ack=1 len=10 -> established`)
	w.table.Configure(Config{Window: WindowStrict})
	c.dialogue(`
		< ack seq=700010 ack=1 len=10 -> established`)
}

func TestLoosePickUp(t *testing.T) {
	k := MakeKey(protocolTCP, client, 40000, server, 80)
	middle := segment(k, packet.TCPAck, 1000, 2000, 100)
	for _, c := range []struct {
		what  string
		loose bool
		p     *Parsed
		want  Reason
	}{
		{"data", true, middle, ReasonNone},
		{"data, but not loose", false, middle, ReasonNoSession},
		{"a reset", true, segment(k, packet.TCPRst, 1, 0, 0), ReasonNoSession},
		{"an end", true, segment(k, packet.TCPFin|packet.TCPAck, 1, 1, 0), ReasonNoSession},
		{"an answer", true, segment(k, packet.TCPSyn|packet.TCPAck, 1, 1, 0), ReasonNoSession},
	} {
		w := newWorld(t, Config{Loose: c.loose, Window: WindowStrict})
		s, r := w.table.Create(w.now, &New{Original: k, Reply: k.Reverse()}, c.p)
		if r != c.want {
			t.Errorf("%s: %v", c.what, r)
		}
		if r != ReasonNone {
			continue
		}
		if s.State() != Established || s.Flags()&Liberal == 0 {
			t.Errorf("%s: %v, flags %b", c.what, s.State(), s.Flags())
		}
		for _, p := range []*Parsed{
			segment(k.Reverse(), packet.TCPAck, 2000, 1100, 60000),
			segment(k.Reverse(), packet.TCPAck, 99999999, 1100, 60000),
			segment(k, packet.TCPAck, 1100, 62000, 0),
		} {
			d := Original
			if p.Key != k {
				d = Reply
			}
			if r := s.Update(w.table, w.now, d, p, false); r != ReasonNone {
				t.Errorf("%s: then %v", c.what, r)
			}
		}
	}
}

func TestStateThatShortensTheTimeIsHonouredSoon(t *testing.T) {
	w := newWorld(t, Config{Timeouts: Timeouts{TCPReset: 50}})
	c := w.connection(0)
	c.dialogue(handshake)
	w.pass(10000)
	c.dialogue("< rst seq=1 -> reset")
	if n := w.pass(60); n != 1 {
		t.Errorf("%d expired after the reset's time", n)
	}
}
