package registry

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

const (
	maxName         = 254
	maxText         = 1000
	maxVersion      = 100
	maxCapabilities = 100
	maxDelegates    = 100
	maxLabels       = 50
	maxLabel        = 100
)

// normalizeAgent fills defaults and drops empty containers, so that equal agents
// are equal values.
func normalizeAgent(a *agentidp.AgentSpec) {
	if a.AgentType == "" {
		a.AgentType = agentidp.AgentTypeCustom
	}
	if len(a.Capabilities) == 0 {
		a.Capabilities = nil
	}
	if len(a.MayDelegateTo) == 0 {
		a.MayDelegateTo = nil
	}
	if len(a.Labels) == 0 {
		a.Labels = nil
	}
}

// CheckAgent returns what is wrong with an agent in itself: one error for every
// bad field.
func CheckAgent(spec agentidp.AgentSpec) []agentidp.FieldError {
	normalizeAgent(&spec)
	return validateAgent(&spec)
}

// validateAgent names every bad field of an agent.
func validateAgent(a *agentidp.AgentSpec) []agentidp.FieldError {
	var bad agentidp.FieldErrors
	refuse := func(field, format string, args ...any) { bad.Refuse(field, fmt.Sprintf(format, args...)) }
	if !isAgentName(a.Name) {
		refuse("name", "must have the form of an e-mail address in ASCII, such as deployer@ci.acme.example, %d bytes at most", maxName)
	}
	for _, f := range []struct {
		field, value string
		limit        int
	}{{"description", a.Description, maxText}, {"version", a.Version, maxVersion}, {"owner", a.Owner, maxName}} {
		if !isText(f.value, f.limit) {
			refuse(f.field, "must be text of at most %d characters without control characters", f.limit)
		}
	}
	agentidp.OneOf(&bad, "agentType", a.AgentType, agentidp.AgentTypes...)
	agentidp.OneOf(&bad, "deploymentEnv", a.DeploymentEnv, agentidp.DeploymentEnvs...)
	if len(a.Capabilities) > maxCapabilities {
		refuse("capabilities", "has more than %d entries", maxCapabilities)
	}
	for i, c := range a.Capabilities {
		field := fmt.Sprintf("capabilities[%d]", i)
		switch {
		case !agentidp.IsCapability(c):
			refuse(field, "must be resource:action, such as deploy:production, 128 bytes at most")
		case slices.Contains(a.Capabilities[:i], c):
			refuse(field, "stands in the list twice")
		}
	}
	checkReach(&bad, a)
	if len(a.Labels) > maxLabels {
		refuse("labels", "has more than %d entries", maxLabels)
	}
	for name, value := range a.Labels {
		if name == "" || !isText(name, maxLabel) || !isText(value, maxLabel) {
			refuse("labels", "names and values must be text of at most %d characters without control characters, names not empty", maxLabel)
			break
		}
	}
	return bad
}

// isAgentName accepts local@domain in ASCII. It is stricter than RFC 5322: a name
// is read by people and compared by machines, so one spelling must do.
func isAgentName(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(s) > maxName || local == "" || len(local) > 64 || strings.Contains(local, "..") ||
		strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") {
		return false
	}
	if strings.ContainsFunc(local, func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune("._%+-", r) }) {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' }) {
			return false
		}
	}
	return true
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func isText(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
}
