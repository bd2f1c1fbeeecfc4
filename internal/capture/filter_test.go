package capture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/net/bpf"
)

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 9}
)

// serialize makes a frame of layers.
func serialize(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

// build makes an Ethernet frame with IPv4 and a transport header without payload.
func build(t testing.TB, proto layers.IPProtocol, src, dst string, sport, dport, offset uint16) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst), FragOffset: offset}
	return serialize(t, &layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: layers.EthernetTypeIPv4}, ip, transportLayer(proto, sport, dport))
}

func transportLayer(proto layers.IPProtocol, sport, dport uint16) gopacket.SerializableLayer {
	switch proto {
	case layers.IPProtocolTCP:
		return &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), SYN: sport < dport, ACK: sport%2 == 0}
	case layers.IPProtocolUDP:
		return &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	case layers.IPProtocolICMPv4:
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}
	}
	return gopacket.Payload([]byte{byte(sport >> 8), byte(sport), byte(dport >> 8), byte(dport), 0, 0, 0, 0})
}

// frames is a spread of what a port may carry, each also cut short at many places.
func frames(t testing.TB) (out [][]byte) {
	t.Helper()
	addrs := []string{"10.0.0.1", "10.0.0.2", "10.1.2.3", "192.168.1.5", "224.0.0.9"}
	ports := []uint16{22, 53, 80, 85, 443, 520}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, proto := range []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolSCTP, layers.IPProtocolICMPv4, layers.IPProtocolIGMP, layers.IPProtocolGRE} {
		for range 12 {
			pick := func() uint16 { return ports[rng.IntN(len(ports))] }
			offset := uint16(0)
			if rng.IntN(5) == 0 {
				offset = 100
			}
			f := build(t, proto, addrs[rng.IntN(4)], addrs[rng.IntN(5)], pick(), pick(), offset)
			if rng.IntN(4) == 0 { // an IPv4 header with options
				f = append(f[:34:34], append([]byte{1, 1, 1, 0}, f[34:]...)...)
				f[14] = 0x46
			}
			out = append(out, f)
		}
	}
	for _, proto := range []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv6, layers.IPProtocolIPv6Fragment} {
		ip := &layers.IPv6{Version: 6, NextHeader: proto, HopLimit: 64, SrcIP: net.ParseIP("fe80::1"), DstIP: net.ParseIP("ff02::1")}
		ether := &layers.Ethernet{SrcMAC: macB, DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6}
		body := []byte{6, 80, 0, 80, 0, 22, 0, 0, 0, 80, 0, 22, 0, 0, 0, 0}
		out = append(out, serialize(t, ether, ip, gopacket.Payload(body)))
	}
	for i, op := range []uint16{1, 2} {
		arp := &layers.ARP{AddrType: 1, Protocol: 0x0800, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: macA, SourceProtAddress: net.ParseIP(addrs[i]).To4(), DstHwAddress: make([]byte, 6), DstProtAddress: net.ParseIP(addrs[2-i]).To4()}
		for _, et := range []layers.EthernetType{0x0806, 0x8035} {
			out = append(out, serialize(t, &layers.Ethernet{SrcMAC: macA, DstMAC: layers.EthernetBroadcast, EthernetType: et}, arp))
		}
	}
	for _, f := range out[:len(out):len(out)] {
		for _, n := range []int{0, 11, 13, 14, 20, 23, 24, 33, 34, 36, 38, 47, 55} {
			if n < len(f) && rng.IntN(4) == 0 {
				out = append(out, f[:n])
			}
		}
	}
	return out
}

// reference runs tcpdump's own compiler and returns its program; ok is false where it refuses the expression.
func reference(t testing.TB, link, expr string, optimize bool) (vm *bpf.VM, message string) {
	t.Helper()
	args := []string{"-y", link, "-s", "262144", "-ddd"}
	if !optimize {
		args = append(args, "-O")
	}
	cmd := exec.Command("tcpdump", append(args, "--", expr)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("tcpdump is missing: install the package tcpdump")
	}
	if err != nil {
		return nil, strings.TrimSpace(stderr.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Scan()
	var program []bpf.Instruction
	for lines.Scan() {
		var r bpf.RawInstruction
		if _, err := fmt.Sscan(lines.Text(), &r.Op, &r.Jt, &r.Jf, &r.K); err != nil {
			t.Fatal(err)
		}
		program = append(program, r.Disassemble())
	}
	vm, err = bpf.NewVM(program)
	if err != nil {
		t.Fatalf("tcpdump's program for %q: %v", expr, err)
	}
	return vm, ""
}

// agree holds a filter against tcpdump's on every frame.
func agree(t *testing.T, expr string, corpus [][]byte, ethernet bool) {
	t.Helper()
	link := "RAW"
	if ethernet {
		link = "EN10MB"
	}
	f, err := CompileFilter(expr, ethernet)
	vm, message := reference(t, link, expr, false)
	if err != nil || vm == nil {
		t.Errorf("%s: %q: ours: %v; tcpdump: %s", link, expr, err, message)
		return
	}
	kept := 0
	for _, frame := range corpus {
		if !ethernet {
			if len(frame) < 15 {
				continue
			}
			frame = frame[14:]
		}
		n, err := vm.Run(frame)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(frame); got != (n > 0) {
			t.Errorf("%s: %q keeps %x: %v, tcpdump: %v", link, expr, frame, got, n > 0)
			return
		}
		if n > 0 {
			kept++
		}
	}
	if kept == 0 || kept == len(corpus) {
		t.Logf("%s: %q keeps %d of %d frames", link, expr, kept, len(corpus))
	}
}

// atoms are conditions for frames of either kind.
var atoms = []string{
	"host 10.0.0.1", "src host 10.0.0.1", "dst host 10.0.0.2", "src 10.0.0.1", "dst 10.1.2.3", "src or dst host 10.0.0.1",
	"src and dst host 10.0.0.1", "ip host 10.0.0.1", "ip src 10.0.0.2", "net 10.0.0.0/8", "src net 10.0.0.0/24", "dst net 192.168.1", "net 10",
	"net 10.0.0.1", "net 10.0.0.0 mask 255.255.255.0", "ip net 10.0/16", "net 0.0.0.0/0",
	"port 80", "src port 80", "dst port 53", "src or dst port 22", "src and dst port 80", "tcp port 80", "udp port domain", "tcp dst port 443",
	"udp src port 520", "sctp port 80", "portrange 80-90", "tcp portrange 22-80", "src portrange 400-500", "tcp port http", "tcp dst port ssh",
	"tcp", "udp", "icmp", "igmp", "sctp", "ip", "ip6", "icmp6", "ip proto 17", "ip proto \\tcp", "proto 47", "proto \\udp", "ip6 proto 6",
	"ip multicast", "less 42", "greater 43", "len > 40", "len - 14 >= 28",
	"tcp[13] & 2 != 0", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "tcp[0:2] > 79", "ip[8] < 65", "ip[0] & 0xf != 5", "icmp[icmptype] == icmp-echo",
	"udp[4:2] = 8", "ip[2:2] - ((ip[0]&0xf)<<2) > 8", "ip[ip[0] & 0xf] = 0", "tcp[(tcp[12] >> 4) * 4] = 0", "5 < len", "ip6[6] = 6", "ip[9] / ip[10] = 6", "ip[9] % 5 ^ 1 | 2 = 3", "ip[9] & 15 ^ 3 = 6", "ip[8] + ip[9] % 5 + 1 = 64", "ip[9] | 1 & 6 = 17", "ip[9] * 2 - 3 = 9",
	"host (10.0.0.1 or 10.0.0.2)", "port (80 or 443)", "port 80 or 443", "port 80 and not 443", "not port 22 and 80", "src 10.0.0.1 or 10.0.0.2",
	"tcp port 80 or 443", "net 10 or 192.168", "host (10.0.0.1 and not 10.0.0.2)",
}

var etherAtoms = []string{
	"arp", "rarp", "arp host 10.0.0.1", "arp src host 10.0.0.1", "rarp dst 10.1.2.3", "arp net 10.0.0.0/24", "ether host 02:00:00:00:00:01", "ether src 2:0:0:0:0:9",
	"ether dst 02-00-00-00-00-09", "ether broadcast", "broadcast", "multicast", "ether multicast", "ether proto 0x0806", "ether proto \\ip", "ether proto \\arp",
	"arp[7] = 1", "ether[0] & 1 = 0", "ether[12:2] = 0x800",
}

func TestEveryConditionMeansWhatTcpdumpMeans(t *testing.T) {
	corpus := frames(t)
	for _, a := range append(append([]string{}, atoms...), etherAtoms...) {
		agree(t, a, corpus, true)
		agree(t, "not "+a, corpus, true)
	}
	for _, a := range atoms {
		agree(t, a, corpus, false)
	}
}

func TestCombinationsMeanWhatTcpdumpMeans(t *testing.T) {
	corpus := frames(t)
	for _, e := range []string{
		"not arp and not port 22", "!arp && !tcp", "tcp or udp and host 10.0.0.1", "host 10.0.0.1 and (port 80 or icmp)", "not (tcp or udp)",
		"(((tcp)))", "not not tcp", "tcp and not (src 10.0.0.1 or dst 10.0.0.2)", "src 10.0.0.1 and dst port 80 or arp",
		"(len > 20) and (ip[8] > 3)", "((ip[8]) > 3)", "tcp||icmp", "host 10.0.0.1 or port 80 or 443", "ip and not multicast or arp",
	} {
		agree(t, e, corpus, true)
	}
	rng := rand.New(rand.NewPCG(11, 12))
	pool := append(append([]string{}, atoms...), etherAtoms...)
	var tree func(depth int) string
	tree = func(depth int) string {
		switch n := rng.IntN(6); {
		case depth == 0 || n == 0:
			return pool[rng.IntN(len(pool))]
		case n == 1:
			return "not (" + tree(depth-1) + ")"
		case n == 2:
			return "(" + tree(depth-1) + ") or " + pool[rng.IntN(len(pool))]
		case n == 3:
			return pool[rng.IntN(len(pool))] + " or (" + tree(depth-1) + ")"
		default:
			return "(" + tree(depth-1) + ") and (" + tree(depth-1) + ")"
		}
	}
	for range 60 {
		agree(t, tree(3), corpus, true)
	}
}

func TestWhatNeedsEthernetNeverMatchesRawPackets(t *testing.T) {
	raw := frames(t)[0][14:]
	for _, e := range []string{"arp", "rarp", "ether host 02:00:00:00:00:01", "broadcast", "multicast", "ether proto 0x0806"} {
		f, err := CompileFilter(e, false)
		if err != nil {
			t.Errorf("%q: %v", e, err)
		} else if f.Match(raw) {
			t.Errorf("%q matches a raw packet", e)
		}
	}
	if f, _ := CompileFilter("arp or tcp", false); !f.Match(raw) {
		t.Error("arp or tcp does not match raw TCP")
	}
}

func TestEmptyExpressionKeepsEverything(t *testing.T) {
	for _, e := range []string{"", "  \t\n"} {
		f, err := CompileFilter(e, true)
		if err != nil || !f.Match(nil) || !f.Match([]byte{1}) {
			t.Errorf("%q: %v", e, err)
		}
	}
}

func TestBareAddressMeansHost(t *testing.T) {
	f, err := CompileFilter("10.0.0.1 or 10.0.0.2", true)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Match(build(t, layers.IPProtocolTCP, "10.9.9.9", "10.0.0.2", 1, 2, 0)) || f.Match(build(t, layers.IPProtocolTCP, "10.9.9.9", "10.0.0.3", 1, 2, 0)) {
		t.Fatal("the second address is not looked for")
	}
}

func TestErrorsNameThePlaceAndTheCure(t *testing.T) {
	for e, want := range map[string]string{
		"foo":                 `column 1: "foo" stands where a condition such as host ADDRESS`,
		"(":                   "it ends where a condition",
		"not":                 "it ends where a condition",
		"tcp and":             "it ends where a condition",
		"(tcp":                "it ends where and, or, or a closing parenthesis",
		"tcp)":                `column 4: ")" stands where and, or, or the end`,
		"tcp udp":             `column 5: "udp" stands where and, or, or the end`,
		"host":                "it ends where a value",
		"host printer":        "names are not looked up",
		"host 10.0.0.256":     "no IPv4 address",
		"host 10.0.0.0/8":     "write net 10.0.0.0/LENGTH",
		"host ::1":            "column 6",
		"net 10.0.0.1/8":      "network 10.0.0.1 has bits outside its mask; 10.0.0.0 has not",
		"net 10.0.0.0/33":     "a number from 0 to 32",
		"port 70000":          "no port from 0 to 65535",
		"port nonsense":       "nor a service name",
		"tcp host 10.0.0.1":   "write `tcp and host ...`",
		"icmp port 3":         "icmp has no ports",
		"tcp or 80":           "the one before has no value to repeat",
		"(tcp port 80) or 90": "the one before has no value to repeat",
		"ether host 10.0.0.1": "no hardware address",
		"host 2:0:0:0:0:1":    "write ether host",
		"tcp[13":              "a comparison such as tcp[13]",
		"tcp[13]":             "a comparison such as tcp[13]",
		"tcp[0:3] = 1":        "a comparison such as tcp[13]",
		"vlan 5":              "column 1",
		"tcp # comment":       `column 5: "#" has no meaning here`,
		"ip proto 300":        "protocol number from 0 to 255",
	} {
		f, err := CompileFilter(e, true)
		if err == nil || f != nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("filter %q", e)) {
			t.Errorf("%q: %v; expected %q", e, err, want)
		}
	}
	for _, deep := range []string{strings.Repeat("(", 5000), strings.Repeat("not ", 2000) + "tcp", strings.Repeat("-", 5000), strings.Repeat("ip[", 2000), strings.Repeat("tcp or ", 2000)} {
		if _, err := CompileFilter(deep, true); err == nil {
			t.Errorf("%.20q... was accepted", deep)
		}
	}
}

func FuzzCompileFilter(f *testing.F) {
	for _, a := range append(append([]string{}, atoms...), etherAtoms...) {
		f.Add(a+" and ("+a+")", []byte{0x45, 0, 0, 20})
	}
	f.Add("((((not ip[ip[ip[0]:4]:2] = 3", []byte{})
	f.Add("tcp port", binary.BigEndian.AppendUint64(nil, 1<<40))
	f.Fuzz(func(t *testing.T, expr string, frame []byte) {
		for _, ethernet := range []bool{true, false} {
			filter, err := CompileFilter(expr, ethernet)
			if (err == nil) == (filter == nil) {
				t.Fatalf("a filter %v and the error %v", filter, err)
			}
			if filter != nil {
				filter.Match(frame)
			}
		}
	})
}
