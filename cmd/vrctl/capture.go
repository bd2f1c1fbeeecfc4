package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) captureCommand() *cobra.Command {
	var r api.CaptureRequest
	var file string
	cmd := &cobra.Command{
		Use:   "capture [PORT...]",
		Short: "see packets as they pass the router, at any stage",
		Long: `Show packets as they pass the router, one a line, or write them as pcapng, until
Ctrl-C or --count. Each packet carries its port, and its stage and drop reason as
comments. Without a PORT: on all ports. With --json: one object a line.`,
		Example: "  vrctl capture lan -f 'icmp or arp'\n  vrctl capture -w trace.pcapng -c 100\n" +
			"  vrctl capture lan -w - | wireshark -k -i -",
		ValidArgsFunction: a.complete(ports),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Ports = args
			if r.Count < 0 || r.Snaplen < 0 {
				return usagef("--count and --snaplen are numbers from 0 up")
			}
			if file == "-" && a.screen.terminal {
				return usagef("pcapng is not for a terminal: give -w a FILE, or send the output elsewhere")
			}
			return a.with(func(c *client.Client) error { return a.capture(cmd.Context(), c, r, file) })
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.Stages, "at", nil, "only at these `stages` of the packet path: rx, punt, drop, tx; with commas between")
	cmd.RegisterFlagCompletionFunc("at", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return beginning([]string{"rx", "punt", "drop", "tx"}, begun), cobra.ShellCompDirectiveNoFileComp
	})
	f.StringVarP(&r.Filter, "filter", "f", "", "only packets that this tcpdump `expression` matches")
	f.StringVarP(&file, "write", "w", "", "write pcapng to this `file`, - for standard output")
	f.IntVarP(&r.Count, "count", "c", 0, "stop after `count` packets; 0: never")
	f.IntVar(&r.Snaplen, "snaplen", 0, "only the first `octets` of each packet")
	return cmd
}

// capture until the stream ends, or Ctrl-C, which is a good end.
func (a *app) capture(ctx context.Context, c *client.Client, r api.CaptureRequest, file string) error {
	seen := 0
	read := func(body io.Reader) (err error) {
		switch file {
		case "":
			return a.summarize(body, &seen)
		case "-":
			seen, err = copyBlocks(a.out, body)
			return err
		}
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		seen, err = copyBlocks(f, body)
		return errors.Join(err, f.Close())
	}
	err := c.Capture(ctx, r, read)
	if ctx.Err() != nil {
		err = nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the daemon went away in the middle of the capture: see its log")
	}
	if err == nil && (a.screen.terminal || file != "") {
		fmt.Fprintf(a.err, "%s captured\n", several(seen, "packet"))
	}
	return err
}

// captured is a packet as --json prints it.
type captured struct {
	Time     time.Time `json:"time"`
	Port     string    `json:"port"`
	Length   int       `json:"length"` // octets on the wire
	Summary  string    `json:"summary"`
	Comments []string  `json:"comments"` // stage and drop reason
}

// summarize prints a line a packet.
func (a *app) summarize(body io.Reader, seen *int) error {
	in, err := pcapgo.NewNgReader(bufio.NewReader(body), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return noStream(err)
	}
	for {
		data, info, options, err := in.ReadPacketDataWithOptions()
		if err != nil {
			return noStream(err)
		}
		*seen++
		face, err := in.Interface(info.InterfaceIndex)
		if err != nil {
			return err
		}
		p := captured{Time: info.Timestamp, Port: face.Name, Length: info.Length,
			Summary: summary(data, face.LinkType), Comments: filled(options.Comments)}
		if a.json {
			err = a.printLine(p)
		} else {
			_, err = fmt.Fprintln(a.out, strings.TrimRight(fmt.Sprintf("%s  %-8s  %s  %s", a.screen.paint(dim, p.Time.Local().Format("15:04:05.000000")),
				p.Port, p.Summary, a.screen.paint(yellow, strings.Join(p.Comments, ", "))), " "))
		}
		if err != nil {
			return err
		}
	}
}

// noStream is nil at the stream's end.
func noStream(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// Block types of pcapng, and its byte-order magic (draft-ietf-opsawg-pcapng section 4).
const (
	sectionBlock  = 0x0a0d0d0a
	packetBlock   = 6
	byteOrder     = 0x1a2b3c4d
	maxBlockBytes = 1 << 24
)

// copyBlocks copies whole pcapng blocks only, so that a file that Ctrl-C ends can be
// read to its end, and counts the packets.
func copyBlocks(to io.Writer, from io.Reader) (packets int, err error) {
	in := bufio.NewReaderSize(from, 64<<10)
	var order binary.ByteOrder = binary.LittleEndian
	buf := make([]byte, 64<<10)
	for {
		head, err := in.Peek(12)
		if len(head) == 0 && err != nil {
			return packets, noStream(err)
		}
		if err != nil {
			return packets, cutShort(err)
		}
		kind := order.Uint32(head)
		if kind == sectionBlock { // reads the same either way; what follows the length tells the order
			order = binary.LittleEndian
			if order.Uint32(head[8:]) != byteOrder {
				order = binary.BigEndian
			}
		}
		size := int(order.Uint32(head[4:]))
		if size < 12 || size%4 != 0 || size > maxBlockBytes {
			return packets, fmt.Errorf("the daemon's capture is no pcapng: a block of %d octets", size)
		}
		if size > len(buf) {
			buf = make([]byte, size)
		}
		if _, err := io.ReadFull(in, buf[:size]); err != nil {
			return packets, cutShort(err)
		}
		if _, err := to.Write(buf[:size]); err != nil {
			return packets, err
		}
		if kind == packetBlock {
			packets++
		}
	}
}

func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
