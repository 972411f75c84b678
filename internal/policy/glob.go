package policy

import "github.com/sentryagent/agentidp/internal/condition"

// Glob reports whether s matches pattern as a whole: * stands for any number of bytes
// other than "/", and every other byte for itself. It is the same in a condition.
func Glob(pattern, s string) bool { return condition.Glob(pattern, s) }
