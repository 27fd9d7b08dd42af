package http1

// Reason says why a message was refused or cut. Zero is none.
type Reason uint8

// Reasons. Those that are answered have the status in parentheses; the connection
// is closed after each of them, because where the next message begins is not known.
const (
	OK              Reason = iota
	BadMethod              // no token before the first space (400)
	MethodUnknown          // no method that a specification we know has (501)
	BadRequestLine         // not method, target and version with one space between (400)
	BadTarget              // no form of RFC 9112 section 3.2 that the method may have (400)
	TargetTooLong          // (414)
	BadVersion             // not HTTP/1.x; HTTP/2 with prior knowledge is among them (505)
	HeadTooLong            // head or trailer section (431)
	TooManyFields          // (431)
	BareLF                 // a line that ends with LF alone (400)
	BadField               // no field name (400)
	FieldSpace             // a blank between name and colon, RFC 9112 section 5.1 (400)
	ObsFold                // a line folded as in RFC 9112 section 5.2 (400)
	BadValue               // a control character in a value, a CR without LF among them (400)
	NoHost                 // HTTP/1.1 without Host (400)
	ManyHosts              // (400)
	BadHost                // (400)
	BadLength              // Content-Length is no decimal number below 2^63 (400)
	LengthsDiffer          // (400)
	LengthAndCoding        // Content-Length and Transfer-Encoding (400)
	BadCoding              // chunked is not the last coding, or there twice (400)
	CodingUnknown          // another coding than chunked (501)
	CodingHTTP10           // Transfer-Encoding in HTTP/1.0 (400)
	BadExpect              // another expectation than 100-continue (417)
	BadChunk               // chunk size, extension or end of chunk (400)
	NoMemory               // no buffer for a head that came in pieces (503)
	Truncated              // the peer closed within a message
	Flooded                // more text after the close than Limits.Linger
	HeldTooMuch            // text that waits for earlier responses found no buffer
	BadStatusLine          // client side: no status line of HTTP/1.x
	BadInterim             // client side: 101, or too many 1xx responses
	Unexpected             // client side: text after the last response
	WrongStatus            // client side: another status than wanted
	WrongLength            // client side: another length than wanted
	numReasons
)

var reasonNames = [numReasons]string{
	"ok", "bad method", "unknown method", "bad request line", "bad target", "target too long", "bad version", "head too long", "too many fields",
	"bare LF", "bad field name", "blank before colon", "folded line", "bad field value", "no host", "several hosts", "bad host", "bad content length",
	"differing content lengths", "content length and transfer coding", "bad transfer coding", "unknown transfer coding", "transfer coding in HTTP/1.0",
	"bad expectation", "bad chunk", "no memory", "truncated", "flooded after close", "held too much", "bad status line", "bad interim response",
	"unexpected text", "wrong status", "wrong length",
}

// String returns a short name for counters.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "invalid reason"
}

// status is what a refused request is answered with.
func (r Reason) status() int {
	switch r {
	case MethodUnknown, CodingUnknown:
		return 501
	case TargetTooLong:
		return 414
	case BadVersion:
		return 505
	case HeadTooLong, TooManyFields:
		return 431
	case BadExpect:
		return 417
	case NoMemory:
		return 503
	default:
		return 400
	}
}
