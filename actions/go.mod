// There is no Go here. This file keeps ./... of the module above out of
// node_modules, where some packages hold Go of their own.
module github.com/sentryagent/agentidp/actions

go 1.26
