package worker

// values are what applications have attached to their flows, by index: in chunks that are
// made when the first value falls into them, so that whoever attaches nothing pays nothing.
type values struct{ chunks [][]any }

const valueChunk = 1024

func (v *values) set(i uint32, x any) {
	k := int(i / valueChunk)
	for len(v.chunks) <= k {
		v.chunks = append(v.chunks, nil)
	}
	if v.chunks[k] == nil {
		v.chunks[k] = make([]any, valueChunk)
	}
	v.chunks[k][i%valueChunk] = x
}

func (v *values) get(i uint32) any {
	if k := int(i / valueChunk); k < len(v.chunks) && v.chunks[k] != nil {
		return v.chunks[k][i%valueChunk]
	}
	return nil
}

func (v *values) clear(i uint32) {
	if k := int(i / valueChunk); k < len(v.chunks) && v.chunks[k] != nil {
		v.chunks[k][i%valueChunk] = nil
	}
}
