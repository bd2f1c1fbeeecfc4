package leases

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp/server"
)

const (
	headerWord = "vrouterd-leases"
	header     = headerWord + " 1"
	// maxLine is the longest line, in octets with its end: a lease whose texts are all as long as options can be, and some more.
	maxLine = 64 << 10
)

// contents of a journal.
type contents struct {
	leases map[packet.Addr]server.Lease
	lines  int   // after the header, those passed over too
	whole  int64 // octets up to the end of the last line that is whole
	open   bool  // the last line lacks nothing but its end
	cut    bool  // something that is no whole line stands after them
}

// read reads a journal, and tells the log what it passes over.
func read(r io.Reader, log *slog.Logger) (*contents, error) {
	c := &contents{leases: map[packet.Addr]server.Lease{}}
	in := bufio.NewReaderSize(r, maxLine)
	for number := 1; ; number++ {
		line, n, ended, err := nextLine(in)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return c, nil
		}
		text := string(line)
		if number == 1 {
			if ok, err := checkHeader(text, ended); !ok {
				c.cut = true
				return c, err
			}
		} else if !c.take(number, text, n > maxLine, ended, log) {
			c.cut = true
			return c, nil
		}
		c.whole += n
		c.open = !ended
	}
}

// nextLine reads a line, and tells how many octets it has with its end. Of one that is longer than any can be, only the length is told.
func nextLine(in *bufio.Reader) (line []byte, n int64, ended bool, err error) {
	line, err = in.ReadSlice('\n')
	n = int64(len(line))
	for err == bufio.ErrBufferFull {
		line, err = in.ReadSlice('\n')
		n += int64(len(line))
	}
	if n > maxLine {
		line = nil
	}
	if err == io.EOF {
		return line, n, false, nil
	}
	return bytes.TrimSuffix(line, []byte("\n")), n, err == nil, err
}

// checkHeader: a header that is not whole is that of a journal that was never written.
func checkHeader(line string, ended bool) (ok bool, err error) {
	if line == header && ended {
		return true, nil
	}
	if !ended && strings.HasPrefix(header, line) {
		return false, nil
	}
	if version, is := strings.CutPrefix(line, headerWord+" "); is {
		if n, err := strconv.Atoi(version); err == nil && n > 1 {
			return false, fmt.Errorf("line 1: version %d is of a newer vrouterd, this one reads version 1: run the newer one, or move the file away and lose the leases", n)
		}
	}
	return false, fmt.Errorf("line 1: %.40q is not %q: it is no journal of leases; move it away", line, header)
}

// take reads a record. False: it is a last line that is not whole.
func (c *contents) take(number int, line string, long, ended bool, log *slog.Logger) bool {
	if ended && !long && strings.TrimSpace(line) == "" { // by hand
		c.lines++
		return true
	}
	l, err := parseRecord(line)
	if long {
		err = errors.New("it is longer than a record can be")
	}
	if _, _, summed := cutChecksum(line); !ended && (err != nil || !summed) {
		log.Warn("leases: the last line of the journal was cut off, and is dropped", "line", number, "text", line[:min(len(line), 200)])
		return false
	}
	c.lines++
	switch {
	case err != nil:
		log.Error("leases: a line of the journal is damaged, and is passed over", "line", number, "error", err, "text", line[:min(len(line), 200)])
	case l.State == server.Free:
		delete(c.leases, l.Addr)
	default:
		c.leases[l.Addr] = l
	}
	return true
}
