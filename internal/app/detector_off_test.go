//go:build !race

package app

// detectsRaces is whether the race detector is on.
const detectsRaces = false
