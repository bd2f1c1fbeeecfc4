package dns

// bits are what makes two askers of one name and type want different answers.
type bits uint8

const (
	bitDO         bits = 1 << iota // DNSSEC's records are wanted (RFC 3225)
	bitNoChecking                  // CD (RFC 4035 section 3.2.2)
)

// asker is what of a query decides about the form of its answer.
type asker struct {
	id, flags uint16
	raw       []byte // the question as it was sent: name in the client's case, type, class
	edns, do  bool
	stream    bool
	size      int // octets that the answer may have
}

// question is a query as it was read.
type question struct {
	asker
	qtype uint16
	bits  bits
	name  []byte // in lower case; points into room
	room  [maxName]byte
}

// read reads a client's message; the raw question is borrowed from it. With a reason other than ReasonNone, what has been
// read so far is there for the answer. It does not allocate.
func (q *question) read(msg []byte, stream bool) Reason {
	q.asker = asker{stream: stream, size: plainSize}
	q.name, q.qtype, q.bits = q.room[:0], 0, 0
	if stream {
		q.size = maxMessage
	}
	if len(msg) < headerLen {
		return ReasonShort
	}
	q.id, q.flags = get16(msg, atID), get16(msg, atFlags)
	switch {
	case q.flags&flagResponse != 0:
		return ReasonNoQuery
	case q.flags&maskOpcode != 0:
		return ReasonOpcode
	case get16(msg, atQuestions) != 1:
		return ReasonQuestions
	}
	at, n := headerLen, 0
	for {
		if at >= len(msg) {
			return ReasonMalformed
		}
		c := int(msg[at])
		if c >= 64 || at+1+c > len(msg) || n+1+c > maxName-btoi(c != 0) {
			return ReasonMalformed
		}
		q.room[n] = byte(c)
		for i := 1; i <= c; i++ {
			q.room[n+i] = lower(msg[at+i])
		}
		at, n = at+1+c, n+1+c
		if c == 0 {
			break
		}
	}
	if at+questionTail > len(msg) {
		return ReasonMalformed
	}
	q.name = q.room[:n]
	q.raw = msg[headerLen : at+questionTail]
	q.qtype = get16(msg, at)
	class := get16(msg, at+2)
	if q.flags&flagNoChecking != 0 {
		q.bits |= bitNoChecking
	}
	if why := q.readRest(msg, at+questionTail); why != ReasonNone {
		return why
	}
	switch {
	case class != classIN:
		return ReasonClass
	case q.qtype == typeAXFR || q.qtype == typeIXFR:
		return ReasonTransfer
	case q.qtype == 0 || q.qtype == typeOPT || q.qtype == typeTSIG:
		return ReasonType
	}
	return ReasonNone
}

// readRest reads what follows the question: nothing, or EDNS among additional records.
func (q *question) readRest(msg []byte, at int) Reason {
	additional := int(get16(msg, atAdditional))
	if get16(msg, atAnswers) != 0 || get16(msg, atAuthority) != 0 || additional > maxAdditional {
		return ReasonMalformed
	}
	why := ReasonNone
	for range additional {
		r, ok := readRecord(msg, at, nil)
		if !ok {
			return ReasonMalformed
		}
		if r.rtype == typeOPT {
			if q.edns || msg[r.at] != 0 || !soundOptions(msg[r.data:r.end]) {
				return ReasonMalformed // RFC 6891 section 6.1.1
			}
			q.edns = true
			if !q.stream {
				q.size = min(max(int(r.class), plainSize), ourSize)
			}
			if get16(msg, r.ttlAt+2)&optDO != 0 {
				q.do = true
				q.bits |= bitDO
			}
			if msg[r.ttlAt+1] != 0 {
				why = ReasonVersion
			}
		}
		at = r.end
	}
	if at != len(msg) {
		return ReasonMalformed
	}
	return why
}

// soundOptions reports whether the options of EDNS fill their record exactly (RFC 6891 section 6.1.2). What they say is for the next hop
// only and is not passed on.
func soundOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < optionHeader || optionHeader+int(get16(b, 2)) > len(b) {
			return false
		}
		b = b[optionHeader+int(get16(b, 2)):]
	}
	return true
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
