//go:build !race

package main

// raceBuild: the race detector has sync.Pool lose things at random.
const raceBuild = false
