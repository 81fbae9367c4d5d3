// The service of bench/peers.mjs on cloudflare/tableflip, as its README has it: SIGHUP replaces the process.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
)

var body = []byte(`{"greeting":"hello","padding":"` + strings.Repeat("x", 100) + `"}`)

func main() {
	upg, err := tableflip.New(tableflip.Options{PIDFile: os.Args[2]})
	if err != nil {
		panic(err)
	}
	defer upg.Stop()
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
		for s := range signals {
			if s == syscall.SIGTERM {
				upg.Stop()
				return
			}
			if err := upg.Upgrade(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	ln, err := upg.Fds.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})}
	go server.Serve(ln)
	if err := upg.Ready(); err != nil {
		panic(err)
	}
	<-upg.Exit()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	server.Shutdown(ctx)
}
