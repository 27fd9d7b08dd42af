package http1

// chunks takes the chunked coding (RFC 9112 section 7.1) off in pieces of any size. The
// zero value is before the first chunk. Extensions and trailer fields are read
// over; both are bounded.
type chunks struct {
	left  uint64 // of the size as far as it is read, or of the chunk
	lines uint16 // bytes of the chunk-size line or the trailer section
	at    chunkState
	name  uint8 // in a trailer line: what of it came already
}

type chunkState uint8

const (
	chunkSize    chunkState = iota // first digit
	chunkDigits                    // further digits
	chunkBlank                     // blanks before ; of an extension
	chunkExt                       // extension
	chunkSizeLF                    // LF of the line
	chunkData                      // the chunk
	chunkCR                        // after it
	chunkLF                        //
	chunkTrailer                   // first byte of a trailer line
	chunkField                     // within one
	chunkFieldLF                   // its LF
	chunkLastLF                    // LF of the empty line
	chunkDone
)

// next takes from p up to the end of one run of content: n bytes were taken, of which the
// last are content. It is called again until p is empty or c is done.
func (c *chunks) next(p []byte) (n int, content []byte, why Reason) {
	for n < len(p) {
		if c.at == chunkData {
			k := int(min(c.left, uint64(len(p)-n)))
			content = p[n : n+k]
			if c.left -= uint64(k); c.left == 0 {
				c.at = chunkCR
			}
			return n + k, content, OK
		}
		b := p[n]
		n++
		if why = c.step(b); why != OK || c.at == chunkDone {
			return n, nil, why
		}
	}
	return n, nil, OK
}

// step takes one byte that is not content.
func (c *chunks) step(b byte) Reason {
	switch c.at {
	case chunkSize, chunkDigits, chunkBlank, chunkExt:
		if c.lines++; c.lines > maxChunkLine {
			return BadChunk
		}
		return c.size(b)
	case chunkSizeLF:
		if b != '\n' {
			return BadChunk
		}
		c.lines, c.at = 0, chunkData
		if c.left == 0 {
			c.at = chunkTrailer
		}
	case chunkCR:
		if b != '\r' {
			return BadChunk
		}
		c.at = chunkLF
	case chunkLF:
		if b != '\n' {
			return BadChunk
		}
		c.at = chunkSize
	case chunkTrailer, chunkField, chunkFieldLF, chunkLastLF:
		if c.lines++; c.lines > defaultHead {
			return HeadTooLong
		}
		return c.trailer(b)
	case chunkData, chunkDone:
	}
	return OK
}

// size takes a byte of a chunk-size line up to its CR. Blanks are allowed before an extension only.
func (c *chunks) size(b byte) Reason {
	digit := -1
	if c.at <= chunkDigits {
		digit = hex(b)
	}
	switch {
	case digit >= 0:
		if c.lines > 16 || c.left>>59 != 0 { // the size stays below 2^63, zeros before it are bounded
			return BadChunk
		}
		c.left, c.at = c.left<<4|uint64(digit), chunkDigits
	case c.at == chunkSize:
		return BadChunk
	case b == '\r' && c.at != chunkBlank:
		c.at = chunkSizeLF
	case c.at == chunkExt:
		if b < ' ' && b != '\t' || b == 0x7f {
			return BadChunk
		}
	case b == ';':
		c.at = chunkExt
	case b == ' ' || b == '\t':
		c.at = chunkBlank
	default:
		return BadChunk
	}
	return OK
}

// What of a trailer line came.
const (
	trailerName uint8 = iota
	trailerValue
)

func (c *chunks) trailer(b byte) Reason {
	switch c.at {
	case chunkTrailer:
		switch {
		case b == '\r':
			c.at = chunkLastLF
		case b == ' ' || b == '\t':
			return ObsFold
		case !token[b]:
			return BadField
		default:
			c.at, c.name = chunkField, trailerName
		}
	case chunkField:
		switch {
		case c.name == trailerName && b == ':':
			c.name = trailerValue
		case c.name == trailerName && !token[b]:
			return BadField
		case c.name == trailerName:
		case b == '\r':
			c.at = chunkFieldLF
		case b == '\n':
			return BareLF
		case b < ' ' && b != '\t' || b == 0x7f:
			return BadValue
		}
	case chunkFieldLF:
		if b != '\n' {
			return BadValue
		}
		c.at = chunkTrailer
	default: // chunkLastLF
		if b != '\n' {
			return BadValue
		}
		c.at = chunkDone
	}
	return OK
}

// hex is the value of a hexadecimal digit, or -1.
func hex(b byte) int {
	switch {
	case b-'0' < 10:
		return int(b - '0')
	case b|0x20-'a' < 6 && b|0x20 >= 'a':
		return int(b|0x20-'a') + 10
	}
	return -1
}
