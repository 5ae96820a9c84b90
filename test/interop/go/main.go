// Asks a Turnout as a client written in Go would, on nothing but Go's standard library (its HTTP client, its XML encoder and decoder).
// It is not the go-omaha library: see README.md in this folder.
package main

import (
	"fmt"
	"os"
	"strings"
)

const (
	flatcar = "e96281a6-d1af-4bde-9a0a-97b76e56dc57"
	unknown = "11111111-2222-3333-4444-555555555555"
)

// Of CLIENTS.md §1.7.
var (
	eventTypes = []int{
		0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 30, 40, 41, 42, 50, 51, 52, 53, 54, 55, 60, 61, 62, 63, 100, 102, 103, 800,
	}
	eventResults = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
)

// What run.ts set up, and where.
var address, oldVersion, newVersion, packageName, size, sha1, sha256 string

func main() {
	if len(os.Args) != 13 {
		fmt.Fprintln(os.Stderr, "usage: interop ADDRESS OLD-VERSION NEW-VERSION PACKAGE SIZE SHA1 SHA256 PRODUCT GROUP VERSION URL FILE")
		os.Exit(2)
	}
	address, oldVersion, newVersion = os.Args[1], os.Args[2], os.Args[3]
	packageName, size, sha1, sha256 = os.Args[4], os.Args[5], os.Args[6], os.Args[7]
	product, groupID, appVersion, appURL, appFile = os.Args[8], os.Args[9], os.Args[10], os.Args[11], os.Args[12]

	failed := false
	try := func(name string, run func() error) {
		if err := run(); err != nil {
			failed = true
			fmt.Printf("FAIL %s: %v\n", name, err)
			return
		}
		fmt.Println("ok", name)
	}
	try("update check gets the package", checkGetsPackage)
	try("update check without the trailing slash", withoutSlash)
	try("ping", pings)
	try("noupdate for a node that is up to date", upToDate)
	for _, kind := range eventTypes {
		try(fmt.Sprintf("event type %d, every result", kind), func() error { return reports(kind) })
	}
	try("several events in one app", severalEvents)
	try("several apps in one request", severalApps)
	try("unknown application", unknownApplication)
	try("unknown track", unknownTrack)
	try("unknown application, only events", unknownApplicationEvents)
	try("text that Go's encoder escapes", escapedText)
	try("a request without any app", noApp)
	updaterCases(try)
	if failed {
		os.Exit(1)
	}
}

// machine makes an id of its own for each case, so that none sees another's node.
func machine(number int) string {
	return fmt.Sprintf("%032x", 0xf1a7c000+number)
}

func app(number int) asked {
	return asked{
		ID:      "{" + flatcar + "}",
		Version: oldVersion,
		Track:   "stable",
		Boot:    "5d1f2a90-7c3e-4b18-a6f4-2e9d0c81b377",
		Machine: machine(number),
		OEM:     "gce",
	}
}

// checking adds what a Go client sends in an update check: a ping, the check, and event 3/2.
func checking(a asked) asked {
	a.Ping, a.Check, a.Events = &ping{Active: 1}, &struct{}{}, []event{{Type: 3, Result: 2}}
	return a
}

func checkGetsPackage() error {
	got, err := post(address, checking(app(1)))
	if err != nil {
		return err
	}
	return offers(got.Apps[0])
}

func withoutSlash() error {
	with := address
	defer func() { address = with }()
	address = strings.TrimSuffix(address, "/")
	return checkGetsPackage()
}

func offers(a answered) error {
	if a.Status != "ok" || a.Check == nil || a.Check.Status != "ok" {
		return fmt.Errorf("no offer: %+v", a)
	}
	check := a.Check
	if len(check.URLs) == 0 || !strings.HasSuffix(check.URLs[0].Codebase, "/") {
		return fmt.Errorf("urls: %+v", check.URLs)
	}
	if len(check.Manifests) != 1 || check.Manifests[0].Version != newVersion {
		return fmt.Errorf("manifests: %+v", check.Manifests)
	}
	manifest := check.Manifests[0]
	if len(manifest.Packages) != 1 || len(manifest.Actions) != 1 {
		return fmt.Errorf("manifest: %+v", manifest)
	}
	file, action := manifest.Packages[0], manifest.Actions[0]
	if file.Name != packageName || fmt.Sprint(file.Size) != size || file.SHA1 != sha1 || !file.Required {
		return fmt.Errorf("package: %+v", file)
	}
	if action.Event != "postinstall" || action.SHA256 != sha256 || !action.DisableBackoff {
		return fmt.Errorf("action: %+v", action)
	}
	return nil
}

func pings() error {
	a := app(2)
	a.Ping = &ping{Active: 1}
	got, err := post(address, a)
	if err != nil {
		return err
	}
	if got.Apps[0].Status != "ok" || got.Apps[0].Ping.Status != "ok" {
		return fmt.Errorf("%+v", got.Apps[0])
	}
	return nil
}

func upToDate() error {
	a := app(3)
	a.Version = newVersion
	return refused("ok", checking(a))
}

// reports sends each result of one type from a node of its own.
func reports(kind int) error {
	for _, result := range eventResults {
		a := app(10_000 + kind*100 + result)
		a.Events = []event{{Type: kind, Result: result}}
		if result == 0 {
			a.Events[0].Code = 10
		}
		if err := acknowledged(a); err != nil {
			return fmt.Errorf("result %d: %w", result, err)
		}
	}
	return nil
}

func severalEvents() error {
	a := app(4)
	a.Events = []event{{Type: 13, Result: 1}, {Type: 14, Result: 1}, {Type: 3, Result: 1}}
	return acknowledged(a)
}

func acknowledged(a asked) error {
	got, err := post(address, a)
	if err != nil {
		return err
	}
	if got.Apps[0].Status != "ok" {
		return fmt.Errorf("%+v", got.Apps[0])
	}
	for _, one := range got.Apps[0].Events {
		if one.Status != "ok" {
			return fmt.Errorf("%+v", got.Apps[0])
		}
	}
	return nil
}

// severalApps asks for one that is known, one that isn't, and the known one with its id in other letters and no braces.
func severalApps() error {
	first, second, third := checking(app(5)), checking(app(5)), checking(app(6))
	second.ID = unknown
	third.ID = strings.ToUpper(flatcar)
	got, err := post(address, first, second, third)
	if err != nil {
		return err
	}
	if err := offers(got.Apps[0]); err != nil {
		return err
	}
	if err := isRefusal("error-unknownApplication", got.Apps[1]); err != nil {
		return err
	}
	return offers(got.Apps[2])
}

func unknownApplication() error {
	a := checking(app(7))
	a.ID = unknown
	return refused("error-unknownApplication", a)
}

func unknownTrack() error {
	a := checking(app(8))
	a.Track = "no-such-track"
	return refused("error-unknownApplicationOrGroup", a)
}

func unknownApplicationEvents() error {
	a := app(9)
	a.ID = unknown
	a.Events = []event{{Type: 13, Result: 1}}
	got, err := post(address, a)
	if err == nil && got.Apps[0].Status != "error-unknownApplication" {
		err = fmt.Errorf("%+v", got.Apps[0])
	}
	return err
}

func escapedText() error {
	a := checking(app(10))
	a.Alias = `rack "4" & 'left' <ü>` + "\t\n"
	got, err := post(address, a)
	if err != nil {
		return err
	}
	return offers(got.Apps[0])
}

func noApp() error {
	_, err := post(address)
	return err
}

// refused: with this status of the app, and noupdate, so that a node stays quiet.
func refused(status string, a asked) error {
	got, err := post(address, a)
	if err != nil {
		return err
	}
	return isRefusal(status, got.Apps[0])
}

func isRefusal(status string, a answered) error {
	if a.Status != status || a.Check == nil || a.Check.Status != "noupdate" || len(a.Check.Manifests) > 0 {
		return fmt.Errorf("not %s and noupdate: %+v", status, a)
	}
	return nil
}
