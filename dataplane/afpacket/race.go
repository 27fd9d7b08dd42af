//go:build race

package afpacket

// raceEnabled makes Settle poison the buffers it takes back, and catch one that
// comes back twice.
const raceEnabled = true
