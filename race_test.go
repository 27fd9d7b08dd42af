//go:build race

package fastsyn

const raceEnabled = true
