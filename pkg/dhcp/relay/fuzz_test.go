package relay

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// FuzzRelay sends any datagram from both sides through a relay agent that does everything, and holds what comes out against what went in.
func FuzzRelay(f *testing.F) {
	f.Add(request(nil), true, false)
	f.Add(request(func(m *dhcp.Message) { m.Options[dhcp.OptionRelayAgent] = []byte("\x01\x02sw") }), true, true)
	f.Add(answer(func(m *dhcp.Message) { m.Options[dhcp.OptionRelayAgent] = []byte("\x01\x03lan") }), true, false)
	fields := overloaded(answer, 3)
	copy(fields[44:], "\x0c\x04host\x52\x05\x01\x03lan\xff")
	f.Add(fields, false, false)
	f.Fuzz(func(t *testing.T, payload []byte, agent, trust bool) {
		p := lanPort()
		p.Agent, p.TrustAgent = agent, trust
		p.Servers = []packet.Addr{serverA, serverB}
		m := newMachine(p)
		in := bytes.Clone(payload)
		for _, ev := range []Receive{fromHost(payload), fromServer(serverA, payload)} {
			actions := bytesOf(t, m.Step(time.Time{}, ev))
			if !bytes.Equal(payload, in) {
				t.Fatal("the datagram that was lent was written to")
			}
			for _, out := range actions {
				compare(t, in, out)
			}
		}
	})
}

// bytesOf are the payloads sent. There is always something: a message to everyone who is to have it, or one refusal.
func bytesOf(t *testing.T, actions []Action) (out [][]byte) {
	if len(actions) == 0 || len(actions) > 2 {
		t.Fatalf("a datagram led to %d actions", len(actions))
	}
	for _, a := range actions {
		if s, is := a.(Send); is {
			out = append(out, s.Payload)
		} else if len(actions) != 1 {
			t.Fatal("a datagram was refused and relayed")
		}
	}
	return out
}

// compare holds a relayed message against the one that came: only hops, giaddr and option 82 may differ.
func compare(t *testing.T, in, out []byte) {
	if len(out) > max(len(in), maxPayload) {
		t.Fatalf("a message of %d octets became one of %d", len(in), len(out))
	}
	a, b := bytes.Clone(in), bytes.Clone(out)
	if in[0] == dhcp.BootRequest {
		if b[3] != a[3]+1 {
			t.Fatalf("hops went from %d to %d", a[3], b[3])
		}
		if binary.BigEndian.Uint32(a[24:]) != 0 && !bytes.Equal(a[24:28], b[24:28]) {
			t.Fatal("giaddr of another was changed")
		}
		b[3] = a[3]
		copy(b[24:28], a[24:28])
	}
	if !bytes.Equal(a[:44], b[:44]) {
		t.Fatalf("the header was changed:\n%x\n%x", a[:44], b[:44])
	}
	if got, want := others(t, b), others(t, a); !bytes.Equal(got, want) {
		t.Fatalf("options but 82 were\n%x\nand are\n%x", want, got)
	}
}

// others are the options of a message but for 82 and padding, in the order in which they stand, fields and all.
func others(t *testing.T, b []byte) (out []byte) {
	if len(b) < offOption || binary.BigEndian.Uint32(b[offCookie:]) != cookie {
		return b
	}
	visit := func(s span) {
		if b[s.from] != dhcp.OptionRelayAgent {
			out = append(out, b[s.from:s.to]...)
		}
	}
	end, ok := walk(b, offOption, len(b), visit)
	if !ok {
		t.Fatal("a message with malformed options was relayed")
	}
	out = append(out, bytes.TrimRight(b[min(end+1, len(b)):], "\x00")...) // what stands behind the end
	var overload byte
	_, _ = walk(b, offOption, len(b), func(s span) {
		if b[s.from] == dhcp.OptionOverload && s.to == s.from+3 {
			overload = b[s.from+2]
		}
	})
	for i, field := range [][2]int{{offFile, offCookie}, {offSName, offFile}} {
		if overload>>i&1 == 0 {
			out = append(out, b[field[0]:field[1]]...)
		} else {
			_, _ = walk(b, field[0], field[1], visit)
		}
	}
	return out
}
