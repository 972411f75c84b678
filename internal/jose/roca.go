package jose

import "math/big"

// rocaGenerator generates the residues that the moduli of the faulty library are of.
const rocaGenerator = 65537

// rocaPrimes are the small primes modulo which the generator reaches half of the residues
// or less, which is what tells a fingerprint from chance.
var rocaPrimes = []int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157}

// isROCA reports whether a modulus has the fingerprint of the keys of CVE-2017-15361
// (smart cards and TPMs of one maker, until 2017), whose primes are M·k + 65537^a mod M:
// the private key can be computed from the public one. So modulo each prime of M it is a
// power of 65537. A modulus that is chance is that with a probability of 2^-28, and seldom
// costs more than two divisions.
func isROCA(n *big.Int) bool {
	rest := new(big.Int)
	for _, p := range rocaPrimes {
		if !isPowerOf(rocaGenerator%p, rest.Mod(n, big.NewInt(p)).Int64(), p) {
			return false
		}
	}
	return true
}

// isPowerOf reports whether x is a power of g modulo p.
func isPowerOf(g, x, p int64) bool {
	for power := int64(1); ; {
		if power == x {
			return true
		}
		if power = power * g % p; power == 1 {
			return false
		}
	}
}
