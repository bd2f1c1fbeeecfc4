// Command gvisorfwd is the baseline that vrouterd is measured against: gVisor's
// network stack forwarding between two TAP devices, with nothing of ours in the
// packet path.
//
//	gvisorfwd -a NETNS -b NETNS
//
// It makes eth0 in each namespace, takes 10.1.0.1/24 and 10.2.0.1/24 for the
// stack, prints "ready" and forwards until it is killed. The kernel ends are
// configured by whoever called it. The devices are read and written by gVisor's own fdbased
// endpoint with its default dispatcher, one read(2) or readv(2) a packet, and without
// vnet headers: the endpoint offers those for packet sockets, not for a TAP.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
)

func main() {
	a := flag.String("a", "", "network namespace of the first kernel end")
	b := flag.String("b", "", "network namespace of the second kernel end")
	mtu := flag.Uint("mtu", 1500, "MTU of both devices")
	flag.Parse()
	if err := run(*a, *b, uint32(*mtu)); err != nil {
		fmt.Fprintln(os.Stderr, "gvisorfwd:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	<-stop
}

// run builds the stack; its dispatchers go on by themselves.
func run(a, b string, mtu uint32) error {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{icmp.NewProtocol4},
	})
	ports := []struct {
		netns   string
		mac     tcpip.LinkAddress
		address [4]byte
	}{
		{a, "\x02\x00\x5e\x10\x00\x01", [4]byte{10, 1, 0, 1}},
		{b, "\x02\x00\x5e\x10\x00\x02", [4]byte{10, 2, 0, 1}},
	}
	var table []tcpip.Route
	for i, p := range ports {
		nic := tcpip.NICID(i + 1)
		fd, err := openTAP(p.netns)
		if err != nil {
			return err
		}
		ep, err := fdbased.New(&fdbased.Options{FDs: []int{fd}, MTU: mtu, EthernetHeader: true, Address: p.mac})
		if err != nil {
			return fmt.Errorf("endpoint in namespace %s: %w", p.netns, err)
		}
		if err := s.CreateNIC(nic, ep); err != nil {
			return fmt.Errorf("interface in namespace %s: %v", p.netns, err)
		}
		address := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(p.address), PrefixLen: 24}
		if err := s.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: header.IPv4ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("address %s: %v", address, err)
		}
		table = append(table, tcpip.Route{Destination: address.Subnet(), NIC: nic})
	}
	s.SetRouteTable(table)
	if err := s.SetForwardingDefaultAndAllNICs(header.IPv4ProtocolNumber, true); err != nil {
		return fmt.Errorf("turn forwarding on: %v", err)
	}
	return nil
}

// openTAP makes eth0 in a namespace known to `ip netns`.
func openTAP(netns string) (int, error) {
	type opened struct {
		fd  int
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		fd, err := func() (int, error) {
			ns, err := unix.Open("/run/netns/"+netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return -1, fmt.Errorf("open namespace %s: %w", netns, err)
			}
			defer unix.Close(ns)
			if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
				return -1, fmt.Errorf("enter namespace %s: %w", netns, err)
			}
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return -1, fmt.Errorf("open /dev/net/tun: %w", err)
			}
			req, err := unix.NewIfreq("eth0")
			if err == nil {
				req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
				err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
			}
			if err != nil {
				unix.Close(fd)
				return -1, fmt.Errorf("make eth0 in namespace %s: %w", netns, err)
			}
			return fd, nil
		}()
		done <- opened{fd, err}
	}()
	o := <-done
	return o.fd, o.err
}
