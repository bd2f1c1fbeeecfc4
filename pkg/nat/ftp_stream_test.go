package nat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/nat"
)

// ftpTalk plays one direction of a connection with segments cut anywhere, lost, and sent again with other borders, and checks
// what the other end hears: the same stream, whatever the pieces, in which each line is as it was said or as it ought to be
// rewritten, and acknowledgements that never promise the sender more than was heard.
type ftpTalk struct {
	*ftpLab
	r        *rand.Rand
	d        conntrack.Direction
	said     []byte
	isn      uint32 // of the first octet
	una, nxt uint32 // the sender's, relative to isn
	heard    []byte // by the receiver, in order
	later    map[int]byte
	answers  uint32
}

// send gives the sender's octets [from, to) to the FTP, and, unless lost, what comes out to the receiver.
func (k *ftpTalk) send(from, to uint32, lost bool) {
	k.t.Helper()
	out := k.says(k.d, k.isn+from, k.answers, string(k.said[from:to]))
	k.nxt = max(k.nxt, to)
	if lost {
		return
	}
	at := int(int32(out.seq - k.isn))
	for i, c := range []byte(out.text) {
		if at+i < len(k.heard) {
			continue // below the window: ignored
		}
		if old, known := k.later[at+i]; known && old != c {
			k.t.Fatalf("octet %d was %q and is %q when sent again", at+i, old, c)
		}
		k.later[at+i] = c
	}
	for {
		c, known := k.later[len(k.heard)]
		if !known {
			break
		}
		delete(k.later, len(k.heard))
		k.heard = append(k.heard, c)
	}
}

// acknowledge tells the sender how far the receiver has got.
func (k *ftpTalk) acknowledge(lost bool) {
	k.t.Helper()
	out := k.pass(k.d.Other(), ftpSegmentOf{seq: k.answers, ack: k.isn + uint32(len(k.heard)), flags: packet.TCPAck})
	una := out.ack - k.isn
	if int32(una) < 0 || una > k.nxt {
		k.t.Fatalf("the sender is told of %d octets, and has sent %d", int32(una), k.nxt)
	}
	if !lost {
		k.una = max(k.una, una)
	}
}

func (k *ftpTalk) run() {
	k.t.Helper()
	total := uint32(len(k.said))
	for step := 0; k.una < total; step++ {
		if step > 100000 {
			k.t.Fatalf("the connection hangs at %d of %d octets, the receiver has %d", k.una, total, len(k.heard))
		}
		lossy := step < 400
		switch k.r.IntN(4) {
		case 0, 1: // something new
			if k.nxt < total {
				to := min(total, k.nxt+1+uint32(k.r.IntN(60)))
				if k.r.IntN(2) == 0 { // up to the end of a line
					if i := bytes.IndexByte(k.said[k.nxt:], '\n'); i >= 0 {
						to = k.nxt + uint32(i) + 1
					}
				}
				k.send(k.nxt, to, lossy && k.r.IntN(4) == 0)
			}
		case 2: // something again
			if k.nxt > k.una {
				from := k.una
				if k.r.IntN(3) == 0 {
					from += uint32(k.r.IntN(int(k.nxt - k.una)))
				}
				k.send(from, min(k.nxt, from+1+uint32(k.r.IntN(80))), lossy && k.r.IntN(4) == 0)
			}
		case 3:
			k.acknowledge(lossy && k.r.IntN(2) == 0)
		}
	}
}

func ftpRandomTalk(t *testing.T, seed uint64, lines []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	k := &ftpTalk{r: r, d: conntrack.Direction(r.IntN(2)), isn: r.Uint32(), answers: r.Uint32(), later: map[int]byte{}}
	if r.IntN(4) == 0 {
		k.isn = -uint32(r.IntN(200)) // about to wrap around
	}
	k.ftpLab = ftpFromInside(t)
	if k.d == conntrack.Reply {
		k.ftpLab = ftpToInside(t)
	}
	k.mapping = []uint16{0, 1025, 65535}[r.IntN(3)]
	isn := [2]uint32{k.isn - 1, k.answers - 1}
	if k.d == conntrack.Reply {
		isn[0], isn[1] = isn[1], isn[0]
	}
	k.pass(conntrack.Original, ftpSegmentOf{seq: isn[0], flags: packet.TCPSyn})
	k.pass(conntrack.Reply, ftpSegmentOf{seq: isn[1], ack: isn[0] + 1, flags: packet.TCPSyn | packet.TCPAck})
	k.said = []byte(strings.Join(lines, ""))
	k.run()

	heard := strings.SplitAfter(string(k.heard), "\n")
	said := strings.SplitAfter(string(k.said), "\n")
	if len(heard) != len(said) {
		t.Fatalf("%d lines were said, %d were heard", len(said), len(heard))
	}
	for i := range said {
		if heard[i] == said[i] {
			continue
		}
		alone := ftpFromInside(t)
		if k.d == conntrack.Reply {
			alone = ftpToInside(t)
		}
		alone.open()
		alone.mapping = k.mapping
		if want := alone.says(k.d, map[conntrack.Direction]uint32{0: 1000, 1: 5000}[k.d], 1, said[i]).text; heard[i] != want {
			t.Fatalf("%q was heard as %q, expected %q", said[i], heard[i], want)
		}
	}
}

func TestHoweverTCPCutsTheStreamTheOtherEndHearsOneText(t *testing.T) {
	kinds := []string{"NOOP\r\n", "PORT 192,168,1,5,200,10\r\n", "PORT 192,168,1,5,4,0\r\n", "EPRT |1|192.168.1.5|65535|\r\n", "STOR a file\r\n",
		"227 Passive (192,168,1,5,80,3)\r\n", "229 Extended (|||2048|)\r\n", "150 go\r\n", "PORT 192,168,1,6,200,10\r\n"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		var lines []string
		for range 1 + r.IntN(30) {
			lines = append(lines, kinds[r.IntN(len(kinds))])
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { ftpRandomTalk(t, seed, lines) })
	}
}

func FuzzFTPTalk(f *testing.F) {
	f.Add(uint64(1), "PORT 192,168,1,5,200,10\r\nLIST\r\n")
	f.Add(uint64(2), "227 x (192,168,1,5,200,10)\r\n229 (|||6000|)\r\n")
	f.Add(uint64(3), "EPRT |1|192.168.1.5|6000|\nport 192,168,1,5,200,10\n\n\r\n")
	f.Add(uint64(4), "EPRT a1a192.168.1.5a6000a\n229 ()\n227 ,,,,,\n")
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		if len(text) > 0 && len(text) < 1000 && !strings.Contains(text, "HTTP") && !strings.Contains(text, "234") {
			ftpRandomTalk(t, seed, []string{text})
		}
	})
}

// FuzzFTPSegment gives it packets of any kind: nothing is read beyond their ends, and what comes out is a packet.
func FuzzFTPSegment(f *testing.F) {
	l := ftpFromInside(nil)
	f.Add([]byte(l.packet(0, ftpSegmentOf{seq: 1, flags: 0x18, text: "PORT 192,168,1,5,200,10\r\n"})), uint8(0))
	f.Add([]byte(l.packet(1, ftpSegmentOf{seq: 1, flags: 0x18, options: []byte{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9}, text: "x"})), uint8(1))
	f.Add([]byte(l.packet(1, ftpSegmentOf{seq: 1, flags: 0x18, options: []byte{5, 0, 5, 1}, text: "x"})), uint8(1))
	f.Add([]byte{0x45, 19: 0}, uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, d uint8) {
		l := ftpFromInside(t).open()
		l.mapping = 65535
		l.says(conntrack.Original, 1000, 5000, "PORT 192,168,1,5,200,10\r\n")
		in := packet.IPv4(bytes.Clone(data)[:len(data):len(data)])
		if len(in) >= 40 && in.HeaderLen() == 20 && in.TotalLen() == len(in) { // let it past the sum
			binary.BigEndian.PutUint16(in[36:], 0)
			binary.BigEndian.PutUint16(in[36:], ^packet.Fold(packet.Sum(in[20:], packet.PseudoHeaderSum(in.Src(), in.Dst(), 6, len(in)-20))))
		}
		direction := conntrack.Direction(d & 1)
		out := l.f.Segment(l.now, direction, in, l.ask)
		if len(out) > 0 && &out[0] != &in[0] && (out.TotalLen() != len(out) || out.HeaderLen() != in.HeaderLen()) {
			t.Fatalf("no packet came out: %x", out)
		}
		again := l.f.Segment(l.now, direction, in, func(nat.Explicit) (nat.Explicit, bool) {
			t.Fatal("asked again for a packet that was sent again")
			return nat.Explicit{}, false
		})
		if !bytes.Equal(out, again) && packet.TCP(in[in.HeaderLen():]).Flags()&packet.TCPAck == 0 {
			t.Fatalf("the packet sent again became\n%x, before it became\n%x", again, out)
		}
	})
}
