package certs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"goranch/transport"
	"goranch/transport/certs"
)

// One of two certificates is renewed while the server runs.
func Example() {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	shop, mail := selfSigned(dir, "shop.test"), selfSigned(dir, "*.mail.test")

	store, err := certs.Open(certs.Options{
		Pairs:         []certs.Pair{shop, mail},
		RefuseUnknown: true,
		Interval:      10 * time.Second,
		Notify: func(err error) {
			if err != nil {
				log.Print("the old certificates stay: ", err)
			}
		},
	})
	if err != nil {
		log.Fatal(err) // reports all files that cannot be used
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()

	tr := transport.TLS{Config: store.Config(&tls.Config{NextProtos: []string{"lines/1"}})}
	fmt.Println(tr.Validate())
	for _, c := range store.Certificates() {
		fmt.Println(c.Names, time.Until(c.NotAfter) < 24*time.Hour)
	}

	selfSigned(dir, "shop.test")
	fmt.Println(store.Reload()) // without waiting for the interval, as on SIGHUP

	os.Remove(shop.Key)
	_, err = store.Reload()
	fmt.Println(err != nil, len(store.Certificates()))

	cancel()
	<-done
	// Output:
	// <nil>
	// [shop.test] true
	// [*.mail.test] true
	// true <nil>
	// true 2
}

func selfSigned(dir, name string) certs.Pair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		log.Fatal(err)
	}
	base := strings.TrimPrefix(name, "*.")
	p := certs.Pair{Cert: filepath.Join(dir, base+".crt"), Key: filepath.Join(dir, base+".key")}
	for file, block := range map[string]*pem.Block{p.Cert: {Type: "CERTIFICATE", Bytes: cert}, p.Key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	return p
}
