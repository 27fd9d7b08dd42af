//go:build !race

package worker

// raceBuild: the race detector has sync.Pool lose things at random.
const raceBuild = false
