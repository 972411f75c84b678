package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// TokenSource gives the access token for a request. It is asked before every attempt,
// possibly by several at once, so it keeps what is good for more than one.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// StaticToken is a TokenSource that always gives the same token.
type StaticToken string

// Token returns the token.
func (t StaticToken) Token(context.Context) (string, error) { return string(t), nil }

// String keeps the token out of what is printed.
func (t StaticToken) String() string { return "[token]" }

// GoString keeps it out of %#v.
func (t StaticToken) GoString() string { return "[token]" }

// TokenFile is a TokenSource that reads the file of this name, anew every time: whoever
// renews the token in it renews it for what runs already. Write a new file and rename
// it, so that nobody reads half a token. A file that others can read is refused (on
// Windows, where the mode does not tell, it is not).
type TokenFile string

// maxTokenFile bounds what is read where a token is expected.
const maxTokenFile = 64 << 10

// Token returns what is in the file, without the white space around it.
func (f TokenFile) Token(context.Context) (string, error) {
	token, err := f.read()
	if err != nil {
		return "", fmt.Errorf("read the access token: %w", err)
	}
	return token, nil
}

func (f TokenFile) read() (string, error) {
	// Before it is opened: opening a pipe would wait for a writer.
	info, err := os.Stat(string(f))
	if err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file, and cannot be read again when the token in it changes", string(f))
	}
	file, err := os.Open(string(f))
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%s can be read by others (mode %04o); run: chmod 600 %s", string(f), mode, string(f))
	}
	raw, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(raw))
	switch {
	case token == "":
		return "", fmt.Errorf("%s is empty", string(f))
	case len(raw) > maxTokenFile:
		return "", fmt.Errorf("%s is larger than %d KiB, and no token is", string(f), maxTokenFile>>10)
	}
	return token, nil
}

// accessToken returns the token that the client's requests carry.
func (c *Client) accessToken(ctx context.Context) (string, error) {
	token := c.Token
	switch {
	case token == "" && c.Tokens == nil:
		return "", errors.New("Client.Token: it is empty; `agentidp admin token` makes an access token")
	case token == "":
		var err error
		if token, err = c.Tokens.Token(ctx); err != nil {
			return "", &notTried{err}
		}
	}
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("the access token: %w", err)
	}
	return token, nil
}

// checkToken refuses what cannot stand in a header, before net/http does with less to
// say. It does not repeat it.
func checkToken(token string) error {
	if token == "" {
		return errors.New("it is empty")
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return errors.New("it has a character that is in no token, such as a space or line break; was more copied than the token?")
		}
	}
	return nil
}
