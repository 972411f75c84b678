package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
)

// main serves GET / to whom the page's authorize lets through, and prints its URL.
func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, status, challenge := authorize(r.Context(), r.Header.Get("Authorization"), "deploy:staging")
		if challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		w.WriteHeader(status)
		if c != nil {
			json.NewEncoder(w).Encode(map[string]string{"sub": c.Subject, "repository": c.Workload["repository"]})
		}
	})))
}
