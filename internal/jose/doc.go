// Package jose is the part of JOSE that AgentIdP needs, and no more: compact JWS
// (RFC 7515) signed with RS256, RS384, RS512, ES256, ES384 or EdDSA (RFC 7518,
// RFC 8037), JWK sets (RFC 7517) and thumbprints (RFC 7638).
//
// Three rules hold throughout. A token has one spelling: whatever a lenient
// decoder would also accept is refused. A key is bound to one algorithm, and a
// token's header can agree with it or fail; it never chooses. Keys come from the
// caller: header parameters that carry or point to a key, or that change how a
// token is read, are refused; only a proof of possession, which ParseProof alone reads,
// names its own key, and nobody takes its word for whose that is. There is no "none", no HMAC and no encryption, so
// there is nothing to confuse a signature with.
//
// It does not know claims, issuers, times or the network.
package jose
