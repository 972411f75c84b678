// Package dnstest answers DNS questions for tests, without a network: a test says
// what names lead to, and sees how often somebody asked.
//
// It is for tests alone, and knows as much of RFC 1035 as they need.
package dnstest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
)

// Names answers questions. It is safe for concurrent use.
type Names struct {
	lookup func(name string) []netip.Addr
	asked  atomic.Int64
	fails  atomic.Int32 // how: a Failure
}

// Failure is what comes instead of an answer.
type Failure int32

// How name servers fail.
const (
	None          Failure = iota
	Refusal               // nobody is there to be asked
	Silence               // questions are taken, and nothing comes
	ServerFailure         // SERVFAIL
	NoSuchName            // NXDOMAIN
	NoAddress             // the name is there, and leads nowhere
)

// Fail has all questions from now on fail so; None: they are answered again.
func (n *Names) Fail(how Failure) { n.fails.Store(int32(how)) }

func (n *Names) failing() Failure { return Failure(n.fails.Load()) }

// New returns names that lead where lookup says, which is asked for each question, in lower case,
// once for IPv4 and once for IPv6. A name that leads nowhere does not exist.
func New(lookup func(name string) []netip.Addr) *Names { return &Names{lookup: lookup} }

// Table is a lookup function for names that always lead to the same addresses.
func Table(addresses map[string][]string) func(string) []netip.Addr {
	return func(name string) []netip.Addr {
		var list []netip.Addr
		for _, s := range addresses[name] {
			list = append(list, netip.MustParseAddr(s))
		}
		return list
	}
}

// Asked returns how many questions came.
func (n *Names) Asked() int { return int(n.asked.Load()) }

// Resolver returns a resolver that asks n and nobody else.
func (n *Names) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		if n.failing() == Refusal {
			n.asked.Add(1)
			return nil, syscall.ECONNREFUSED
		}
		client, server := net.Pipe() // no packets: each message has its length in front
		go n.serve(server)
		return client, nil
	}}
}

func (n *Names) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		n.asked.Add(1)
		if n.failing() == Silence {
			continue
		}
		answer := n.answer(question)
		length := uint16(len(answer)) //nolint:gosec // a few addresses
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, length), answer...)); err != nil {
			return
		}
	}
}

const (
	headerSize = 12
	typeA      = 1
	typeAAAA   = 28

	serverFailure = 2
	nameError     = 3 // NXDOMAIN
)

// answer builds the response to a message with one question.
func (n *Names) answer(message []byte) []byte {
	var labels []string
	at := headerSize
	for message[at] != 0 {
		end := at + 1 + int(message[at])
		labels = append(labels, string(message[at+1:end]))
		at = end
	}
	kind := binary.BigEndian.Uint16(message[at+1:])
	question := message[headerSize : at+5]

	code := uint16(0)
	addrs := n.lookup(strings.ToLower(strings.Join(labels, ".")))
	if len(addrs) == 0 {
		code = nameError
	}
	switch n.failing() {
	case ServerFailure:
		addrs, code = nil, serverFailure
	case NoSuchName:
		addrs, code = nil, nameError
	case NoAddress:
		addrs, code = nil, 0
	}
	var records []byte
	count := 0
	for _, addr := range addrs {
		if (kind == typeA) != addr.Is4() || kind != typeA && kind != typeAAAA {
			continue
		}
		size := byte(addr.BitLen() / 8)                                                       //nolint:gosec // 4 or 16
		records = append(records, 0xc0, headerSize, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, size) // the name again, class IN, no time to live
		records = append(records, addr.AsSlice()...)
		count++
	}
	flags := 0x8180 | code                  // a response, with recursion
	out := append([]byte{}, message[:2]...) // id
	for _, v := range []uint16{flags, 1, uint16(count), 0, 0} {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	return append(append(out, question...), records...)
}
