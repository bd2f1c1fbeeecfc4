package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

func TestNATCarriesFragmentsBothWays(t *testing.T) {
	e := newHome(t, forwarding, "p2", "p5")
	p2 := e.hosts["p2"]
	p2.ping(server1, "-s", "4000")
	p2.ping(server1, "-s", "20000")
	p2.ping(farAddress, "-s", "4000") // once more in smaller ones
	p2.serveUDP("192.168.1.2:7000")
	e.out.serveUDP(server1 + ":7")
	e.hosts["far"].serveUDP(farAddress + ":7")
	large := bytes.Repeat([]byte("8 KB "), 1600)
	for _, c := range []struct {
		from *host
		to   string
	}{{p2, server1 + ":7"}, {p2, farAddress + ":7"}, {e.out, publicAddress + ":7000"}, {e.hosts["far"], publicAddress + ":7000"}, {e.hosts["p5"], publicAddress + ":7000"}} {
		s := c.from.listenUDP("")
		eventually(t, 20*time.Second, "8,000 octets from "+c.from.name+" to "+c.to+" and back", func() error {
			s.WriteToUDPAddrPort(large, netip.MustParseAddrPort(c.to))
			buffer := make([]byte, 65536)
			s.SetReadDeadline(time.Now().Add(time.Second))
			n, err := s.Read(buffer)
			if err != nil {
				return err
			}
			if _, payload, _ := bytes.Cut(buffer[:n], []byte(" ")); !bytes.Equal(payload, large) {
				return fmt.Errorf("%d octets came back, and not those that were sent", n)
			}
			return nil
		})
	}
}

// fragments cuts a UDP datagram into IP fragments whose payloads have the size, a multiple of eight.
func fragments(from, to netip.AddrPort, payload []byte, size int) (all [][]byte) {
	u := make([]byte, 8+len(payload))
	binary.BigEndian.PutUint16(u[0:], from.Port())
	binary.BigEndian.PutUint16(u[2:], to.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	copy(u[8:], payload)
	pseudo := append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_UDP, u[4], u[5])
	binary.BigEndian.PutUint16(u[6:], packet.Checksum(append(pseudo, u...)))
	for at := 0; at < len(u); at += size {
		part := u[at:min(at+size, len(u))]
		ip := make([]byte, 20+len(part))
		ip[0] = 0x45
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[4:], from.Port()) // one identification for each datagram of the test
		offset := uint16(at / 8)
		if at+size < len(u) {
			offset |= 0x2000
		}
		binary.BigEndian.PutUint16(ip[6:], offset)
		ip[8], ip[9] = 64, unix.IPPROTO_UDP
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:20]))
		copy(ip[20:], part)
		all = append(all, ip)
	}
	return all
}

func TestNATCarriesFragmentsInAnyOrder(t *testing.T) {
	e := newHome(t, forwarding, "p2")
	p2 := e.hosts["p2"]
	p2.ping(server1)
	payload := []byte(strings.Repeat("in any order ", 30))
	// RFC 4787 REQ-14: out of order, both ways.
	outside, inside := e.out.listenUDP(server1+":9"), p2.listenUDP("192.168.1.2:7001")
	for i, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}} {
		for _, c := range []struct {
			from     *host
			src, dst string
			heard    *net.UDPConn
		}{
			{p2, fmt.Sprintf("192.168.1.2:%d", 6000+i), server1 + ":9", outside},
			{e.out, fmt.Sprintf("%s:%d", server1, 6100+i), publicAddress + ":7001", inside},
		} {
			parts := fragments(netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst), payload, 104)
			if len(parts) != len(order) {
				t.Fatalf("%d fragments", len(parts))
			}
			eventually(t, 20*time.Second, fmt.Sprintf("fragments in the order %v from %s", order, c.src), func() error {
				for _, n := range order {
					c.from.sendIP(netip.MustParseAddrPort(c.dst).Addr().String(), parts[n])
				}
				if _, ok := hears(c.heard, string(payload), time.Second); !ok {
					return fmt.Errorf("nothing came")
				}
				return nil
			})
		}
	}
}

// ftpServer is vsftpd on the host with one file, hello.
func (h *host) ftpServer(address string) {
	h.lab.t.Helper()
	dir := h.lab.shortDir("ftp")
	for path, text := range map[string]string{
		"pub/hello": "hello by FTP\n",
		"vsftpd.conf": `listen=YES
background=NO
listen_address=` + address + `
anonymous_enable=YES
no_anon_password=YES
anon_root=` + dir + `/pub
secure_chroot_dir=` + dir + `/empty
seccomp_sandbox=NO
connect_from_port_20=NO
ftp_username=daemon
nopriv_user=nobody
connect_timeout=5
`,
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			h.lab.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			h.lab.t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, dir + "/pub": 0o555, dir + "/empty": 0o555} {
		os.Mkdir(path, mode)
		if err := os.Chmod(path, mode); err != nil {
			h.lab.t.Fatal(err)
		}
	}
	h.start("vsftpd", dir+"/vsftpd.conf")
	h.listens(address + ":21")
}

// listens waits until a host has a TCP socket that listens at an address.
func (h *host) listens(address string) {
	h.lab.t.Helper()
	eventually(h.lab.t, 20*time.Second, "somebody to listen at "+address, func() error {
		c, err := h.dial("tcp4", "", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func TestNATHelpsActiveFTPWhereItIsTold(t *testing.T) {
	helped := policy{
		yaml: masquerade.yaml + "sessions: {helpers: [ftp]}\n",
		nft: masquerade.nft + `
table ip helpers {
  ct helper ftp { type "ftp" protocol tcp; }
  chain prerouting { type filter hook prerouting priority 0;
    tcp dport 21 ct helper set "ftp"
  }
}
`}
	e := newHome(t, masquerade, "p2")
	e.out.ftpServer(server1)
	fetch := func(mode string) (string, int) {
		file := filepath.Join(e.dir, "fetched")
		os.Remove(file)
		out, code := e.hosts["p2"].try("timeout", "20", "tnftp", mode, "-q", "10", "-o", file, "ftp://"+server1+"/hello")
		if text := readText(file); code == 0 && text != "hello by FTP\n" {
			return out + "fetched: " + text, -1
		}
		return out, code
	}
	if out, code := fetch("-p"); code != 0 {
		t.Fatalf("passive FTP needs no help: %d\n%s", code, out)
	}
	if out, code := fetch("-A"); code == 0 {
		t.Fatalf("active FTP came through without the helper:\n%s", out)
	}
	e.tell(helped)
	for range 2 {
		if out, code := fetch("-A"); code != 0 {
			t.Fatalf("active FTP with the helper: exit status %d\n%s", code, out)
		}
	}
	if out, code := fetch("-p"); code != 0 {
		t.Fatalf("passive FTP with the helper: %d\n%s", code, out)
	}
	if e.r != nil { // under the firewall of a home, the data connection is related
		e.tell(policy{yaml: helped.yaml + "firewall: home\n"})
		if out, code := fetch("-A"); code != 0 {
			t.Fatalf("active FTP with the helper and firewall: home: exit status %d\n%s", code, out)
		}
	}
	// Nothing stays open behind it.
	e.tell(masquerade)
	if out, code := fetch("-A"); code == 0 {
		t.Fatalf("active FTP came through after the helper was taken away:\n%s", out)
	}
}

func TestNATKeepsItsFragmentsBounded(t *testing.T) {
	e := newUnwatchedHome(t, safeHome, "p2")
	p2 := e.hosts["p2"]
	p2.ping(server1, "-s", "4000")
	before := e.r.resident()
	// First fragments whose rest never comes, from both sides: far more than there is room for.
	payload := make([]byte, 3000)
	for from, h := range map[string]*host{"198.18.0.1": e.out, "192.168.1.77": p2} {
		s := h.sender()
		to := netip.MustParseAddrPort(map[string]string{"198.18.0.1": publicAddress + ":7000", "192.168.1.77": "198.18.0.1:7"}[from])
		for port := range uint16(8000) {
			if err := s.send(fragments(netip.AddrPortFrom(netip.MustParseAddr(from), port+1), to, payload, 1400)[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Those of living people still get through, and memory stays where it was.
	p2.ping(server1, "-s", "4000")
	p2.ping(server1, "-s", "20000")
	if grown := e.r.resident() - before; grown > 64<<20 {
		t.Errorf("16,000 lost fragments took %d MB", grown>>20)
	}
}

func TestNATCarriesProtocolsWithoutPorts(t *testing.T) {
	e := newHome(t, safeHome, "p2", "p5")
	p2 := e.hosts["p2"]
	inside, public, server := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr(publicAddress), netip.MustParseAddr(server1)
	const esp = 50
	from, back := p2.sender(), e.out.sender()
	// Unasked it does not come in; asked for, the answer does.
	back.send(probe{protocol: esp, src: server, dst: public, id: 1}.bytes())
	e.out.sees("ip proto 50 and src "+publicAddress+" and dst "+server1, func() { from.send(probe{protocol: esp, src: inside, dst: server, id: 2}.bytes()) })
	p2.sees("ip proto 50 and src "+server1+" and dst 192.168.1.2", func() { back.send(probe{protocol: esp, src: server, dst: public, id: 3}.bytes()) })
	// A second inside host cannot have the same peer at the same time: there is nothing to tell them apart by.
	e.hosts["p5"].sender().send(probe{protocol: esp, src: netip.MustParseAddr("192.168.1.5"), dst: server, id: 4}.bytes())
	eventually(t, 10*time.Second, "the second host to be refused by name", func() error {
		if e.r.drops("clash", "no_ports") == 0 {
			return fmt.Errorf("drops:\n%s", e.r.ctl("show", "drops"))
		}
		return nil
	})
	if s := find(e.r.rows("nat", "sessions"), "protocol", "esp", "inside", "192.168.1.2", "remote", server1); s == nil {
		t.Errorf("no session of ESP:\n%s", e.r.ctl("show", "nat", "sessions"))
	}
}
