package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// In a GitHub Actions job with "permissions: id-token: write", and with no secret
// anywhere: a bootstrap policy lets the repository register its agent, which gets a
// token. Registering again returns the same agent.
func Example_inCI() {
	ctx := context.Background()
	server := &client.Client{BaseURL: serverURL}

	bootstrap := &client.Client{BaseURL: serverURL, Tokens: &client.ExchangeSource{Client: server}}
	agent, err := bootstrap.RegisterAgent(ctx, agentidp.AgentSpec{Name: "deployer@ci.acme.example"})
	if err != nil {
		log.Fatal(err)
	}

	tokens := &client.ExchangeSource{Client: server, AgentID: agent.AgentID}
	token, err := tokens.Token(ctx) // the same until 80 % of its life are over
	if err != nil {
		log.Fatal(err)
	}

	// Whoever has the token may ask what it is, and end it.
	is, err := server.Introspect(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, for a run of %s on %s\n", is.AgentName, is.Workload.Repository, is.Workload.Ref)
	if err := server.RevokeToken(ctx, token); err != nil {
		log.Fatal(err)
	}
	// Output:
	// deployer@ci.acme.example, for a run of acme/deploy on refs/heads/main
}

// A job calls a service with its agent's token, which is renewed in time and goes to
// that service alone.
func ExampleTransport() {
	server := &client.Client{BaseURL: serverURL}
	service := &http.Client{Transport: &client.Transport{
		Tokens: &client.ExchangeSource{Client: server, AgentID: uploaderID, Audience: "https://upload.example.com"},
		Hosts:  []string{uploadHost}, // upload.example.com
	}}

	res, err := service.Post("http://"+uploadHost+"/reports", "text/plain", strings.NewReader("all is well"))
	if err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Status, string(answer))
	// Output:
	// 200 OK thank you, uploader@acme.example
}

// Which exchanges were denied in the last day, and by which check.
func ExampleClient_AllDecisions() {
	ctx := context.Background()
	admin := &client.Client{BaseURL: serverURL, Token: adminToken}
	denied := agentidp.DecisionFilter{Outcome: agentidp.OutcomeDenied, Since: time.Now().Add(-24 * time.Hour)}
	for d, err := range admin.AllDecisions(ctx, denied) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.Repository, d.Code)
		if d, err = admin.GetDecision(ctx, d.ID); err != nil { // a list leaves out the checks
			log.Fatal(err)
		}
		for _, check := range d.Checks {
			if !check.OK {
				fmt.Printf("  %s: expected %s, got %s\n", check.Check, check.Expected, check.Got)
			}
		}
	}
	// Output:
	// acme/website branch_not_permitted
	//   ref: expected refs/heads/main, got refs/heads/feature
}

// A refusal has a code for programs and sentences for people.
func ExampleError() {
	admin := &client.Client{BaseURL: serverURL, Token: adminToken}
	_, err := admin.CreateTrustPolicy(context.Background(), agentidp.TrustPolicySpec{
		Provider: "github", Repository: "acme/website", Branch: "refs/heads/main",
	})
	refusal, ok := errors.AsType[*client.Error](err)
	switch {
	case ok && refusal.Code == agentidp.CodePolicyExists:
		fmt.Println("it is there already")
	case ok && refusal.Code == agentidp.CodeInvalidRequest:
		for _, d := range refusal.Details {
			fmt.Println(d.Field, d.Reason)
		}
	case errors.Is(err, client.ErrOutcomeUnknown):
		fmt.Println("look whether it was made before making it again")
	case err != nil:
		log.Fatal(err)
	}
	// Output:
	// branch is the short name. Write main, not refs/heads/main.
}

// An access token that somebody else renews, in a file that only its owner can read.
func ExampleTokenFile() {
	admin := &client.Client{BaseURL: serverURL, Tokens: client.TokenFile(tokenFile)} // /run/agentidp/admin.token
	for agent, err := range admin.AllAgents(context.Background(), agentidp.AgentFilter{Name: "uploader@acme.example"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(agent.Name, agent.Status)
	}
	// Output:
	// uploader@acme.example active
}
