// Package emulator is a local CI issuer of kind github: what GitHub offers to a
// job that holds "permissions: id-token: write", on one's own machine, with a
// key of one's own. `agentidp emulate github` serves it, and tests mint from it.
//
// It owns what a GitHub ID token looks like (which claims, which values, which
// of the three forms of sub) and the endpoint that the Actions toolkit calls. It
// verifies nothing, and nothing it signs is worth more than the trust that
// someone puts in its key.
package emulator
