package dns

// Reason says why a query was refused, a name said not to exist, or a reply from upstream not believed. ReasonNone is none of these.
type Reason uint8

// Those of queries in the order in which a query meets them, then those of replies.
const (
	ReasonNone Reason = iota
	ReasonShort
	ReasonNoQuery
	ReasonOpcode
	ReasonQuestions
	ReasonMalformed
	ReasonVersion
	ReasonClass
	ReasonTransfer
	ReasonType
	ReasonBareName
	ReasonPrivateReverse
	ReasonSpecialName
	ReasonLocalDomain
	ReasonBlocked
	ReasonNoUpstream
	ReasonLocalOnly
	ReasonNotRecursive
	ReasonRepeated
	ReasonClientLimit
	ReasonQueryLimit
	ReasonWaitingLimit
	ReasonAliasLoop
	ReasonTooLong
	ReasonDeadline
	ReasonUpstreamsFailed
	ReasonGone
	ReasonNameInvalid
	ReasonNameLimit

	ReasonReplyUnknown
	ReasonReplyServer
	ReasonReplyShort
	ReasonReplyNoResponse
	ReasonReplyID
	ReasonReplyOpcode
	ReasonReplyQuestion
	ReasonReplyMalformed
	ReasonReplyGuessed
	ReasonReplyRebind
	ReasonReplyReferral
	ReasonReplyFailure

	NumReasons // how many there are
)

// AboutReply reports a reason about a message from upstream; the others are about messages from clients, or names.
func (r Reason) AboutReply() bool { return r >= ReasonReplyUnknown && r < NumReasons }

// NoSuchName reports a reason for which a name is said not to exist without asking upstream: that is an answer, and nothing is refused.
func (r Reason) NoSuchName() bool { return r >= ReasonBareName && r <= ReasonBlocked }

type words struct{ name, description string }

var reasonWords = [NumReasons]words{
	ReasonNone:            {"none", "The message was accepted."},
	ReasonShort:           {"dns_short", "A DNS message is shorter than its header: it was dropped."},
	ReasonNoQuery:         {"dns_no_query", "A DNS message to the router is a response and no query: it was dropped."},
	ReasonOpcode:          {"dns_opcode", "A client asked for an operation other than a query, such as an update: it was told that there is none."},
	ReasonQuestions:       {"dns_questions", "A DNS query has no question or more than one."},
	ReasonMalformed:       {"dns_malformed", "A DNS query's lengths, names or records do not fit together."},
	ReasonVersion:         {"dns_edns_version", "A DNS query has a version of EDNS other than 0: it was told that 0 is known."},
	ReasonClass:           {"dns_class", "A DNS query is about another class than the Internet's."},
	ReasonTransfer:        {"dns_transfer", "A client asked for the transfer of a zone: the router has none to give."},
	ReasonType:            {"dns_type", "A DNS query asks for a type that is no record's."},
	ReasonBareName:        {"dns_bare_name", "A name of one label that nobody here has is not asked upstream."},
	ReasonPrivateReverse:  {"dns_private_reverse", "A reverse lookup of a private address that has no name here is not asked upstream (RFC 6303)."},
	ReasonSpecialName:     {"dns_special_name", "A name below invalid, onion, local, test or home.arpa is not asked upstream (RFC 6761)."},
	ReasonLocalDomain:     {"dns_local_domain", "A name in the router's own domain that nobody has is not asked upstream."},
	ReasonBlocked:         {"dns_blocked", "A name is in a domain that is configured to be asked nowhere."},
	ReasonNoUpstream:      {"dns_no_upstream", "No upstream server is known for a name."},
	ReasonLocalOnly:       {"dns_local_only", "A name is none of ours, and the router is configured to ask nobody else: the query was refused."},
	ReasonNotRecursive:    {"dns_not_recursive", "A query that asks for no recursion is about a name that is neither local nor in the cache."},
	ReasonRepeated:        {"dns_repeated", "A client sent a query again that is still on its way: the answer to the first is the answer to both."},
	ReasonClientLimit:     {"dns_client_limit", "A client has too many questions on their way upstream."},
	ReasonQueryLimit:      {"dns_query_limit", "Too many questions are on their way upstream."},
	ReasonWaitingLimit:    {"dns_waiting_limit", "Too many clients wait for one and the same answer."},
	ReasonAliasLoop:       {"dns_alias_loop", "The static aliases of a name lead in a circle, or are too many."},
	ReasonTooLong:         {"dns_too_long", "The records of a name, or what its alias leads to, fit no DNS message."},
	ReasonDeadline:        {"dns_deadline", "No upstream server answered in time."},
	ReasonUpstreamsFailed: {"dns_upstreams_failed", "Every upstream server that was asked failed or refused."},
	ReasonGone:            {"dns_client_gone", "A client closed its connection before its answer came."},
	ReasonNameInvalid:     {"dns_name_invalid", "A host's name from DHCP is no label of a name, or is one that hosts may not claim: it was not taken."},
	ReasonNameLimit:       {"dns_name_limit", "A host's name from DHCP was not taken: there are too many."},
	ReasonReplyUnknown:    {"dns_reply_unknown", "A reply came for a question that is no longer open."},
	ReasonReplyServer:     {"dns_reply_server", "A reply came from another address than was asked: somebody forges it, or the server answers from a wrong one."},
	ReasonReplyShort:      {"dns_reply_short", "A reply is shorter than a DNS header."},
	ReasonReplyNoResponse: {"dns_reply_no_response", "A message from an upstream server is a query."},
	ReasonReplyID:         {"dns_reply_id", "A reply has another number than its question: somebody may be guessing (RFC 5452)."},
	ReasonReplyOpcode:     {"dns_reply_opcode", "A reply is to another operation than a query."},
	ReasonReplyQuestion:   {"dns_reply_question", "A reply repeats another question than was asked."},
	ReasonReplyMalformed:  {"dns_reply_malformed", "A reply's lengths, names or records do not fit together."},
	ReasonReplyGuessed:    {"dns_reply_guessed", "So many wrong replies came to one question that it was asked again by TCP."},
	ReasonReplyRebind:     {"dns_reply_rebind", "A reply from upstream holds a private address for a name that is not allowed to have one: it was refused."},
	ReasonReplyReferral:   {"dns_reply_referral", "An upstream server answered with other servers to ask: it does no recursion."},
	ReasonReplyFailure:    {"dns_reply_failure", "An upstream server answered with an error: the next one was asked."},
}

// String is the reason's name in counters and events.
func (r Reason) String() string {
	if r >= NumReasons {
		return "unknown"
	}
	return reasonWords[r].name
}

// Description is one sentence for operators.
func (r Reason) Description() string {
	if r >= NumReasons {
		return "The reason is unknown."
	}
	return reasonWords[r].description
}
