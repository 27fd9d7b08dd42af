//go:build race

package main

// raceBuild: the race detector allocates.
const raceBuild = true
