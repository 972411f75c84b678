package cli

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// remedy turns the repairs of a refusal into commands that can be pasted into a shell.
type remedy struct {
	ctx     context.Context
	client  *client.Client
	program *kong.Node // all commands
	agentID string     // of the exchange
}

// remedyOf is what would have let in an exchange that asked for an agent.
func remedyOf(ctx context.Context, cl *client.Client, k *kong.Context, agentID string, m *agentidp.Miss) []string {
	r := remedy{ctx: ctx, client: cl, program: k.Model.Node, agentID: agentID}
	return r.lines(m)
}

// lines are the commands, one a line; and where there is none for a repair, what is to be
// done in words.
func (r *remedy) lines(m *agentidp.Miss) []string {
	if m == nil {
		return nil
	}
	var lines []string
	var create json.RawMessage
	var edits []agentidp.Repair // of the policy, or of the one that is to be created
	for _, repair := range m.Repairs {
		switch repair.Action {
		case agentidp.RepairCreate:
			create = repair.Value
		case agentidp.RepairRepin:
			lines = append(lines, "agentidp policy repin "+m.PolicyID)
		case agentidp.RepairReactivate:
			lines = append(lines, "agentidp agent reactivate "+r.agentID)
		case agentidp.RepairRequest:
			if repair.Field == "agentId" {
				lines = append(lines, "Ask for an agent by its id: correct agentId in the request.")
				continue
			}
			lines = append(lines, "Ask for less: leave "+repair.Field+" out of the request.")
		default:
			edits = append(edits, repair)
		}
	}
	switch {
	case create != nil:
		lines = append(lines, r.create(create, edits))
	case len(edits) > 0:
		lines = append(lines, r.edit(m.PolicyID, edits)...)
	}
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return lines
}

// create is the command that creates a policy with the fields of a document, and what is
// to be changed of them.
func (r *remedy) create(fields json.RawMessage, edits []agentidp.Repair) string {
	var o object
	if json.Unmarshal(fields, &o) == nil {
		for _, repair := range edits {
			apply(o, repair)
		}
		if args, ok := r.flags("create", o); ok {
			return "agentidp policy create" + args
		}
	}
	return "Create a policy with " + string(escaped(fields))
}

// edit is the command that changes a policy, or creates a copy with the changes. It says
// the values that the policy has besides, so it has to be read first; who may not read it
// is told in words.
func (r *remedy) edit(policyID string, edits []agentidp.Repair) []string {
	p, err := r.client.GetTrustPolicy(r.ctx, policyID)
	if err != nil {
		return r.inWords(policyID, edits, err)
	}
	before, err := viaJSON(p)
	after, err2 := viaJSON(p)
	if errors.Join(err, err2) != nil {
		return r.inWords(policyID, edits, nil)
	}
	for _, repair := range edits {
		apply(after, repair)
	}
	if slices.ContainsFunc(edits, func(repair agentidp.Repair) bool { return repair.Copy }) {
		if after["mode"] == string(agentidp.ModeEnforce) {
			delete(after, "mode") // as it is by default
		}
		if args, ok := r.flags("create", after); ok {
			return []string{"agentidp policy create" + args}
		}
		return r.inWords(policyID, edits, nil)
	}
	args, ok := r.flags("update", mergePatch(before, after))
	if !ok {
		return r.inWords(policyID, edits, nil)
	}
	return []string{"agentidp policy update " + policyID + args}
}

// inWords tells repairs for which there is no command.
func (r *remedy) inWords(policyID string, edits []agentidp.Repair, err error) []string {
	var lines []string
	for _, repair := range edits {
		where := "policy " + policyID
		if repair.Copy {
			where = "a copy of " + where
		}
		value := ""
		if len(repair.Value) > 0 {
			value = " " + string(escaped(repair.Value))
		}
		said := map[agentidp.RepairAction]string{
			agentidp.RepairAdd: "add" + value + " to " + repair.Field, agentidp.RepairSet: "set " + repair.Field + " to" + value, agentidp.RepairUnset: "take away " + repair.Field,
		}[repair.Action]
		lines = append(lines, "In "+where+": "+said+".")
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		lines = append(lines, "(No command is shown, because the policy could not be read: "+e.Code+".)")
	}
	return lines
}

// apply makes a repair in the JSON of a policy.
func apply(o object, repair agentidp.Repair) {
	field := repair.Field
	if name, ok := strings.CutPrefix(field, "claims."); ok {
		claims, _ := o["claims"].(object)
		if claims == nil {
			claims = object{}
			o["claims"] = claims
		}
		o, field = claims, name
	}
	var value any = reasonToBeGiven
	if len(repair.Value) > 0 && json.Unmarshal(repair.Value, &value) != nil {
		return
	}
	switch repair.Action {
	case agentidp.RepairUnset:
		delete(o, field)
	case agentidp.RepairAdd:
		o[field] = append(listOf(o[field]), value)
	default:
		o[field] = value
	}
}

func listOf(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return slices.Clone(v)
	}
	return []any{v}
}

// mergePatch is the merge patch (RFC 7396) that makes one object the other.
func mergePatch(before, after object) object {
	patch := object{}
	for name, value := range after {
		was, isObject := before[name].(object)
		is, both := value.(object)
		switch {
		case isObject && both:
			if inner := mergePatch(was, is); len(inner) > 0 {
				patch[name] = inner
			}
		case !reflect.DeepEqual(before[name], value):
			patch[name] = value
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			patch[name] = nil
		}
	}
	return patch
}
