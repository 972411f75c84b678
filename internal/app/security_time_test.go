package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/store"
)

// number is a JSON number as it is spelled.
func number(s string) json.RawMessage { return json.RawMessage(s) }

func TestSecurityDates(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	now := f.clock.Now().Unix()
	in := func(seconds int64) json.RawMessage { return number(strconv.FormatInt(now+seconds, 10)) }
	exp := func(v any) string { return f.signed(claims{"exp": v}) }
	iat := func(v any) string { return f.signed(claims{"iat": v}) }
	nbf := func(v any) string { return f.signed(claims{"nbf": v}) }
	const invalid = agentidp.ReasonClaimInvalid
	f.attacks([]attack{
		{"A-081 exp missing", exp(emulator.Absent), invalid},
		{"A-081 iat missing", iat(emulator.Absent), invalid},
		{"A-082 exp a string", exp("4102444800"), invalid},
		{"A-082 exp a string of a good time", exp(string(in(300))), invalid},
		{"A-082 exp null", exp(nil), invalid},
		{"A-082 exp true", exp(true), invalid},
		{"A-082 exp a list", exp([]int64{now + 300}), invalid},
		{"A-082 exp an object", exp(claims{"exp": now + 300}), invalid},
		{"A-082 iat a string", iat(string(in(0))), invalid},
		{"A-082 iat null", iat(nil), invalid},
		{"A-083 exp with a fraction", exp(number(string(in(300)) + ".5")), "granted"},
		{"A-083 exp with a fraction: it is dropped", f.signed(claims{"iat": in(-300), "exp": number(string(in(-60)) + ".999")}), agentidp.ReasonTokenExpired},
		{"A-083 iat with a fraction", iat(number(string(in(-1)) + ".25")), "granted"},
		{"A-064 exp with an exponent", exp(number(strconv.FormatFloat(float64(now+300), 'e', -1, 64))), "granted"},
		{"A-064 exp 1E3", f.signed(claims{"exp": number("1E3"), "iat": 990, "nbf": emulator.Absent}), agentidp.ReasonTokenExpired},
		{"A-064 exp with an exponent of zero", exp(number(string(in(300)) + "e0")), "granted"},
		{"A-064 a very large integer that nobody reads", f.signed(claims{"x": number(strings.Repeat("9", 400))}), "granted"},
		{"A-064 1e400 that nobody reads", f.signed(claims{"x": number("1e400")}), "granted"},
		{"A-064 an id as a number", f.signed(claims{"repository_id": 385410230}), invalid},
		{"A-084 exp 1e400", exp(number("1e400")), invalid},
		{"A-084 exp 2^63", exp(number("9223372036854775808")), invalid},
		{"A-084 exp 2^63-1", exp(number("9223372036854775807")), invalid},
		{"A-084 exp 2^64 and five minutes", exp(number("18446744073709551616")), invalid},
		{"A-084 exp 1e30", exp(number("1e30")), invalid},
		{"A-084 exp of 400 digits", exp(number(strings.Repeat("9", 400))), invalid},
		{"A-084 exp after the year 9999", exp(number("253402300800")), invalid},
		{"A-084 exp -1", exp(-1), invalid},
		{"A-084 exp -0", exp(number("-0")), invalid},
		{"A-084 exp -1e400", exp(number("-1e400")), invalid},
		{"A-084 exp 0", exp(0), invalid},
		{"A-084 exp 1e-400", exp(number("1e-400")), invalid},
		{"A-084 iat -1e30, which would make it live for ever", iat(number("-1e30")), invalid},
		{"A-084 iat 1e400", iat(number("1e400")), invalid},
		{"A-084 exp is iat", exp(in(0)), invalid},
		{"A-085 a life of ten years", exp(in(10 * 365 * 86400)), agentidp.ReasonTokenTooOld},
		{"A-085 a life of an hour and a second", exp(in(3601)), agentidp.ReasonTokenTooOld},
		{"A-085 a life of an hour and a second, the most of it over", f.signed(claims{"iat": in(-3590), "exp": in(11)}), agentidp.ReasonTokenTooOld},
		{"A-085 iat 0", iat(0), agentidp.ReasonTokenTooOld},
		{"A-085 a life until the year 9999", exp(number("253402300799")), agentidp.ReasonTokenTooOld},
		{"A-085 a life of an hour", exp(in(3600)), "granted"},
		{"A-087 nbf in 61 s", nbf(in(61)), agentidp.ReasonTokenNotYetValid},
		{"A-087 nbf in 60.5 s: the fraction is dropped", nbf(number(string(in(60)) + ".5")), "granted"},
		{"A-087 nbf in 60 s", nbf(in(60)), "granted"},
		{"A-087 nbf a string", nbf(string(in(0))), invalid},
		{"A-087 nbf null", nbf(nil), invalid},
		{"A-087 nbf 1e400", nbf(number("1e400")), invalid},
		{"A-087 nbf after exp", nbf(in(301)), invalid},
		{"A-087 nbf is exp", nbf(in(300)), invalid},
		{"A-087 iat in 61 s", f.signed(claims{"iat": in(61), "nbf": emulator.Absent}), agentidp.ReasonTokenNotYetValid},
		{"A-087 iat in 60 s", f.signed(claims{"iat": in(60), "nbf": emulator.Absent}), "granted"},
		{"A-089 no nbf", nbf(emulator.Absent), "granted"},
		{"A-089 bf for nbf, as GitHub's page has it", f.signed(claims{"nbf": emulator.Absent, "bf": in(-300)}), "granted"},
		{"A-089 bf is not read", f.signed(claims{"bf": in(300)}), "granted"},
	})
}

// TestSecurityClock: one token, and the time at which it is presented. Its issuer's
// clock said iat = 0 s and exp = 300 s.
func TestSecurityClock(t *testing.T) {
	t.Parallel()
	f := newForger(t, watched)
	start := f.clock.Now()
	at := func(d time.Duration) { f.clock.advance(start.Add(d).Sub(f.clock.Now())) }
	suspected := func(clock string) (n int) {
		t.Helper()
		n, err := strconv.Atoi(f.series()[`agentidp_clock_skew_suspected_total{clock="`+clock+`"}`])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, tt := range []struct {
		name string
		at   time.Duration
		fate string
	}{
		{"A-091 at exp: the skew is for the token", 300 * time.Second, "granted"},
		{"A-086 expired by 1 s", 301 * time.Second, "granted"},
		{"A-086 expired by 59 s", 359 * time.Second, "granted"},
		{"A-086 A-091 a microsecond before exp and the skew", 360*time.Second - time.Microsecond, "granted"},
		{"A-086 A-091 exp and the skew: exclusive", 360 * time.Second, agentidp.ReasonTokenExpired},
		{"A-086 expired by the skew and 1 s", 361 * time.Second, agentidp.ReasonTokenExpired},
		{"A-090 our clock is 5 min fast, the token new", 300 * time.Second, "granted"},
		{"A-090 our clock is 10 min fast", 600 * time.Second, agentidp.ReasonTokenExpired},
		{"A-090 our clock is 60 s slow", -60 * time.Second, "granted"},
		{"A-090 our clock is 60.000001 s slow", -60*time.Second - time.Microsecond, agentidp.ReasonTokenNotYetValid},
		{"A-090 our clock is 5 min slow", -300 * time.Second, agentidp.ReasonTokenNotYetValid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := f.in(t)
			at(0)
			token := f.signed()
			at(tt.at)
			slow, fast := suspected("slow"), suspected("fast")
			a := f.becomes(token, tt.fate)
			if tt.fate == agentidp.ReasonTokenNotYetValid {
				slow++
			}
			if tt.fate == agentidp.ReasonTokenExpired {
				fast++
			}
			if gotSlow, gotFast := suspected("slow"), suspected("fast"); gotSlow != slow || gotFast != fast {
				t.Errorf("suspected as slow %d times and as fast %d, want %d and %d", gotSlow, gotFast, slow, fast)
			}
			if tt.fate != "granted" && !strings.Contains(a.said(), f.clock.Now().UTC().Format(time.RFC3339)) {
				t.Errorf("the answer does not say what our clock says: %s", a.Raw)
			}
			if tt.fate == agentidp.ReasonTokenNotYetValid {
				at(0)
				f.becomes(token, "granted") // it was not used up
			}
		})
	}
	t.Run("A-090 a token that has long expired says nothing of a clock", func(t *testing.T) {
		f := f.in(t)
		at(0)
		now, fast := f.clock.Now().Unix(), suspected("fast")
		for age, more := range map[int64]int{899: 1, 900: 0, 86400: 0} {
			f.becomes(f.signed(claims{"iat": now - age - 300, "nbf": now - age - 300, "exp": now - age}), agentidp.ReasonTokenExpired)
			if fast += more; suspected("fast") != fast {
				t.Errorf("of one that expired %d s ago, suspected %d times, want %d", age, suspected("fast"), fast)
			}
		}
	})
	t.Run("A-090 what anybody can make says nothing of a clock", func(t *testing.T) {
		f := f.in(t)
		at(0)
		slow, fast := suspected("slow"), suspected("fast")
		f.becomes(compact(header("none", f.kid), f.payload(claims{"iat": f.clock.Now().Unix() + 300}), rs256), "algorithm")
		if suspected("slow") != slow || suspected("fast") != fast {
			t.Error("a clock is suspected on the word of a forged token")
		}
	})
}

func TestSecurityTokenIDs(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	id := func(v any) string { return f.signed(claims{"jti": v}) }
	const invalid = agentidp.ReasonClaimInvalid
	sql := id("x'); DROP TABLE used_tokens; --")
	f.attacks([]attack{
		{"A-092 jti missing", id(emulator.Absent), invalid},
		{"A-092 jti empty", id(""), invalid},
		{"A-092 jti null", id(nil), invalid},
		{"A-092 jti a number", id(1), invalid},
		{"A-092 jti a list", id([]string{"x"}), invalid},
		{"A-092 Jti for jti", f.signed(claims{"jti": emulator.Absent, "Jti": "x"}), invalid},
		{"A-093 jti of 1 MB", id(strings.Repeat("j", 1<<20)), "size"},
		{"A-093 jti of 10 KB", id(strings.Repeat("j", 10<<10)), invalid},
		{"A-093 jti of 1025 bytes", id(strings.Repeat("j", 1025)), invalid},
		{"A-093 jti of 1024 bytes", id(strings.Repeat("j", 1024)), "granted"},
		{"A-093 jti with NUL", id("x\x00"), "format"},
		{"A-093 jti with a line break", id("x\ny"), invalid},
		{"A-093 jti with a C1 control character", id("x\u0085y"), invalid},
		{"A-093 jti of SQL is a string like another", sql, "granted"},
		{"A-093 jti of SQL, again", sql, agentidp.ReasonTokenReplayed},
	})
}

func TestSecurityReplay(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	token := f.signed()
	id := saidBy(t, token)["jti"]
	s := strings.Split(token, ".")
	f.attacks([]attack{
		{"A-094 the first time", token, "granted"},
		{"A-094 the second time", token, agentidp.ReasonTokenReplayed},
		{"A-094 the third time", token, agentidp.ReasonTokenReplayed},
		{"A-094 another token with its jti", f.signed(claims{"jti": id, "run_id": "2"}), agentidp.ReasonTokenReplayed},
		{"A-094 the jti with a space is another", f.signed(claims{"jti": id.(string) + " "}), "granted"},
		{"A-094 the jti in upper case is another", f.signed(claims{"jti": strings.ToUpper(id.(string))}), "granted"},
		{"A-101 spelled with a line break", token + "\n", "format"},
		{"A-101 spelled with a line break inside the signature", s[0] + "." + s[1] + "." + insert(s[2], "\n"), "format"},
		{"A-101 spelled with stray bits", s[0] + "." + s[1] + "." + nonCanonical(t, s[2]), "format"},
		{"A-101 with another header, signed again", compact(header("RS256", f.kid, `"x":1`), string(unb64(s[1])), rs256), agentidp.ReasonTokenReplayed},
		{"A-101 with white space, signed again", f.spelled(" " + string(unb64(s[1]))), agentidp.ReasonTokenReplayed},
	})
	keys := keySet(jwk(ciKey().Public(), f.kid, nil))
	f.provider("another", "https://another.ci.example", keys, "RS256")
	f.attacks([]attack{{"A-094 the jti of another provider's token is another", f.signed(claims{"jti": id, "iss": "https://another.ci.example"}), "granted"}})

	t.Run("A-094 after a restart", func(t *testing.T) {
		f.restart()
		f.in(t).becomes(token, agentidp.ReasonTokenReplayed)
	})
}

// A used token must be remembered for as long as it would be accepted.
func TestSecurityA100UsedTokensAreForgottenWhenTheyHaveExpired(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	token := f.signed()
	f.becomes(token, "granted")
	remembered := func() (n int) {
		t.Helper()
		if _, _, err := f.app.db.RemoveDue(t.Context(), f.org().ID, &store.Retention{UsedTokens: f.clock.Now()}, removeBatch); err != nil {
			t.Fatal(err)
		}
		row := f.rows.QueryRowContext(t.Context(), "SELECT count(*) FROM used_tokens WHERE replay_key = $1", saidBy(t, token)["jti"])
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, tt := range []struct {
		name       string
		advance    time.Duration
		fate       string
		remembered int
	}{
		{"A-100 1 s before exp and the skew", 359 * time.Second, agentidp.ReasonTokenReplayed, 1},
		{"A-100 a microsecond before exp and the skew", time.Second - time.Microsecond, agentidp.ReasonTokenReplayed, 1},
		{"A-100 at exp and the skew", time.Microsecond, agentidp.ReasonTokenExpired, 1},
		{"A-100 2 s later", 2 * time.Second, agentidp.ReasonTokenExpired, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.clock.advance(tt.advance)
			if got := remembered(); got != tt.remembered {
				t.Errorf("remembered %d times, want %d", got, tt.remembered)
			}
			f.in(t).becomes(token, tt.fate)
		})
	}
}

func TestSecurityA095OneTokenTwoHundredTimesAtOnce(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	was, token := f.ledger(), f.signed()
	answers := make([]*answer, 200)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			answers[i] = f.world.through(allDoors[i%len(allDoors)]).exchange(exchangeBody(token, f.agentID))
		})
	}
	all.Wait()
	allowed := 0
	for _, a := range answers {
		if a.Status == http.StatusOK {
			allowed++
			continue
		}
		f.wantAs(a, http.StatusUnauthorized, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
		f.recorded(a, http.StatusUnauthorized)
	}
	if allowed != 1 {
		t.Errorf("A-095 %d exchanges of one token were granted", allowed)
	}
	f.ledger().expect(t, was, rows{decisions: 200, events: 200, tokens: 1, used: 1}, 0)
}

// The store of used tokens is full, or gone: nothing is granted.
func TestSecurityA099TheStoreOfUsedTokensFails(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	sql := func(t *testing.T, statement string) {
		t.Helper()
		if _, err := f.rows.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, fail, mend string }{
		{"it is full", "CREATE TRIGGER full BEFORE INSERT ON used_tokens BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END", "DROP TRIGGER full"},
		{"it drops what it is given", "CREATE TRIGGER leak BEFORE INSERT ON used_tokens BEGIN SELECT RAISE(IGNORE); END", "DROP TRIGGER leak"},
		{"it is gone", "ALTER TABLE used_tokens RENAME TO gone", "ALTER TABLE gone RENAME TO used_tokens"},
	} {
		t.Run("A-099 "+tt.name, func(t *testing.T) {
			f := f.in(t)
			was, fresh := f.ledger(), f.signed()
			sql(t, tt.fail)
			a := f.submit(fresh)
			sql(t, tt.mend)
			if a.Status == http.StatusOK || a.str("access_token") != "" {
				t.Fatalf("granted without single use: %s", a.Raw)
			}
			if !strings.HasPrefix(tt.name, "it drops") {
				f.judge(a, fresh, agentidp.CodeTemporarilyUnavailable, 0, was)
			}
			f.becomes(fresh, "granted") // a token that was not exchanged is good
			f.becomes(fresh, agentidp.ReasonTokenReplayed)
		})
	}
}

// A denial does not use a token up, or the honest retry would fail.
func TestSecurityA102ADeniedTokenIsGoodOnceAPolicyAllowsIt(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	token := f.subject(stranger("acme/later"))
	for i := range 3 {
		f.attacks([]attack{{fmt.Sprintf("A-102 denied, %d", i+1), token, agentidp.CodeTrustPolicyViolation}})
	}
	f.policy(f.admin(), map[string]any{"repository": "acme/later", "agentId": f.agentID})
	f.attacks([]attack{
		{"A-102 then granted", token, "granted"},
		{"A-102 then used up", token, agentidp.ReasonTokenReplayed},
	})
}
