package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// The application that run.ts has made, for clients that are no operating system: known by its product id, its packages of another type
// than Flatcar, its nodes called whatever their owners like.
var product, groupID, appVersion, appURL, appFile string

const appOld = "2.3.1"

// tracked is an app as the older API's updater sends it: an attribute that is empty is left out; so is the declaration, see bare.
func tracked(machine string) asked {
	return asked{ID: product, Version: appOld, Track: "beta", Boot: "5d1f2a90-7c3e-4b18-a6f4-2e9d0c81b377", Machine: machine}
}

func check(a asked) asked {
	a.Check = &struct{}{}
	return a
}

func reporting(a asked, kind, result, code int) asked {
	a.Events = []event{{Type: kind, Result: result, Code: code}}
	return a
}

// What the updater calls its progress, by the events that it sends for it.
type progress struct{ kind, result int }

var (
	downloadStarted      = progress{13, 1}
	downloadFinished     = progress{14, 1}
	installationStarted  = progress{6, 1}
	installationFinished = progress{2, 1}
	updateComplete       = progress{3, 1}
	completeAndRestarted = progress{3, 2}
	updateFailed         = progress{3, 0}
)

// whole is what happens between a check that offers something and the next one.
func whole(machine string, steps ...progress) error {
	if err := offered(tracked(machine)); err != nil {
		return err
	}
	for _, step := range steps {
		if err := acknowledged(reporting(tracked(machine), step.kind, step.result, 0)); err != nil {
			return fmt.Errorf("%d/%d: %w", step.kind, step.result, err)
		}
	}
	return nil
}

// offered: the app's package, from an address that has a query.
func offered(a asked) error {
	got, err := bare(address, check(a))
	if err != nil {
		return err
	}
	app := got.Apps[0]
	if app.Status != "ok" || app.Check.Status != "ok" || len(app.Check.Manifests) != 1 || len(app.Check.URLs) != 1 {
		return fmt.Errorf("no offer: %+v %+v", app, app.Check)
	}
	manifest := app.Check.Manifests[0]
	if app.Check.URLs[0].Codebase != appURL || manifest.Version != appVersion {
		return fmt.Errorf("%+v", app.Check)
	}
	if len(manifest.Packages) != 1 || manifest.Packages[0].Name != appFile || len(manifest.Actions) != 0 {
		return fmt.Errorf("%+v", manifest)
	}
	return nil
}

func nothingFor(a asked) error {
	got, err := bare(address, check(a))
	if err != nil {
		return err
	}
	return isRefusal("ok", got.Apps[0])
}

func updaterCases(try func(name string, run func() error)) {
	try("an application by its product id, with an address that has a query", func() error { return offered(tracked("pod-1")) })
	try("the updater's order: 14, 2, 3, and it is complete with the new version at once", updatersOrder)
	try("the agent's order: 13, 14, 6, 2, 3", agentsOrder)
	try("complete and restarted: 3/2", restarted)
	try("progress that comes twice, late and in another order", disorder)
	try("an error without a code, and one with a code of the client's own", errorCalls)
	try("what an error of the check itself says: 2000 and the HTTP status", errorOfTheCheck)
	try("an answer to events of a node that nobody knows", unknownReports)
	try("machine ids of free form", machineIDs)
	try("machine ids that are none", noMachineIDs)
	try("versions that are taken, and that are none", versions)
	try("the application's id in other letters, with braces and without", letterCase)
	try("two applications of one machine in one request", twoApplications)
	try("an address without a path", withoutPath)
}

func updatersOrder() error {
	const machine = "pod-2"
	if err := whole(machine, downloadFinished, installationFinished); err != nil {
		return err
	}
	if err := stands(machine, "installed", appOld); err != nil {
		return err
	}
	if err := acknowledged(reporting(tracked(machine), 3, 1, 0)); err != nil {
		return err
	}
	if err := stands(machine, "complete", appVersion); err != nil {
		return err
	}
	updated := tracked(machine)
	updated.Version = appVersion
	return nothingFor(updated)
}

func agentsOrder() error {
	const machine = "pod-3"
	err := whole(machine, downloadStarted, downloadFinished, installationStarted, installationFinished, updateComplete)
	if err != nil {
		return err
	}
	return stands(machine, "complete", appVersion)
}

func restarted() error {
	const machine = "pod-4"
	if err := whole(machine, downloadFinished, completeAndRestarted); err != nil {
		return err
	}
	return stands(machine, "complete", appVersion)
}

func disorder() error {
	const machine = "pod-5"
	if err := whole(machine, installationFinished, downloadStarted, downloadFinished, updateComplete); err != nil {
		return err
	}
	for _, late := range []progress{updateComplete, downloadFinished, downloadStarted} {
		if err := acknowledged(reporting(tracked(machine), late.kind, late.result, 0)); err != nil {
			return err
		}
	}
	return stands(machine, "complete", appVersion)
}

func errorCalls() error {
	for machine, code := range map[string]int{"pod-6": 0, "pod-7": 42} {
		if err := whole(machine, downloadStarted); err != nil {
			return err
		}
		if err := acknowledged(reporting(tracked(machine), updateFailed.kind, updateFailed.result, code)); err != nil {
			return err
		}
		node, err := instance(machine)
		if err != nil {
			return err
		}
		if node.Application.State != "failed" || node.Application.ErrorCode == nil && code != 0 {
			return fmt.Errorf("%+v", node.Application)
		}
		if code != 0 && *node.Application.ErrorCode != code {
			return fmt.Errorf("code %d", *node.Application.ErrorCode)
		}
		// It is to try again later, and is told so in a way that is no error.
		if err := nothingFor(tracked(machine)); err != nil {
			return err
		}
	}
	return nil
}

func errorOfTheCheck() error {
	const machine = "pod-8"
	if err := whole(machine, downloadStarted); err != nil {
		return err
	}
	if err := acknowledged(reporting(tracked(machine), 3, 0, 2503)); err != nil {
		return err
	}
	return stands(machine, "downloading", appOld)
}

// unknownReports: the updater takes the app from every answer, and crashes when it is not there.
func unknownReports() error {
	if err := acknowledged(reporting(tracked("pod-nobody-knows"), 3, 1, 0)); err != nil {
		return err
	}
	return stands("pod-nobody-knows", "unknown", appOld)
}

func machineIDs() error {
	names := []string{
		"web-1.rack7.example.org:8080",
		"billing/7",
		"Büro 7 <ü> & \"links\"",
		"{B7D94E2C-61F8-4A0F-9D33-55AA10C2E8F4}",
		"b7d94e2c-61f8-4a0f-9d33-55aa10c2e8f4",
		"0",
		"-",
		strings.Repeat("a", 128),
	}
	for _, name := range names {
		if err := offered(tracked(name)); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if err := acknowledged(reporting(tracked(name), 3, 1, 0)); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if err := stands(name, "complete", appVersion); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	// Another machine, for all that anybody knows.
	if err := offered(tracked("WEB-1.rack7.example.org:8080")); err != nil {
		return err
	}
	return stands("web-1.rack7.example.org:8080", "complete", appVersion)
}

func noMachineIDs() error {
	for _, name := range []string{"", strings.Repeat("a", 129), "two\nlines", "a\ttab"} {
		got, err := bare(address, check(tracked(name)))
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if err := isRefusal("error-instanceRegistrationFailed", got.Apps[0]); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if got, err = bare(address, reporting(tracked(name), 3, 1, 0)); err != nil || got.Apps[0].Status == "ok" {
			return fmt.Errorf("%q: %+v %w", name, got, err)
		}
	}
	return nil
}

func versions() error {
	for number, version := range []string{"0.0.0", "2.3.1-rc.1", "2.3.1+build.7", "2.3.1-alpha.1+exp.sha-5114f85", "0.0.1-0"} {
		a := tracked(fmt.Sprintf("version-%d", number))
		a.Version = version
		if err := offered(a); err != nil {
			return fmt.Errorf("%q: %w", version, err)
		}
	}
	for number, version := range []string{appVersion, appVersion + "+build.9", "3.0.0-rc.1", "10.0.0"} {
		a := tracked(fmt.Sprintf("newer-%d", number))
		a.Version = version
		if err := nothingFor(a); err != nil {
			return fmt.Errorf("%q: %w", version, err)
		}
	}
	for number, version := range []string{"", "2", "2.3", "2.3.1.4", "v2.3.1", "latest", "2.03.1", " 2.3.1", "99999999999999999999.0.0", strings.Repeat("1", 300) + ".0.0"} {
		a := check(tracked(fmt.Sprintf("none-%d", number)))
		a.Version = version
		got, err := bare(address, a)
		if err != nil {
			return fmt.Errorf("%q: %w", version, err)
		}
		if err := isRefusal("error-instanceRegistrationFailed", got.Apps[0]); err != nil {
			return fmt.Errorf("%q: %w", version, err)
		}
	}
	return nil
}

// letterCase: each is answered byte for byte as it asked, which post checks.
func letterCase() error {
	for number, id := range []string{product, strings.ToUpper(product), strings.ToLower(product), "{" + product + "}"} {
		a := tracked(fmt.Sprintf("letters-%d", number))
		a.ID = id
		if err := offered(a); err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
	}
	for number, id := range []string{strings.ToUpper(flatcar), "{" + strings.ToUpper(flatcar) + "}", flatcar} {
		a := checking(app(20 + number))
		a.ID = id
		got, err := post(address, a)
		if err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
		if err := offers(got.Apps[0]); err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
	}
	return nil
}

// twoApplications: one machine id in both, and each has a node of its own.
func twoApplications() error {
	one := checking(app(30))
	other := check(tracked(one.Machine))
	got, err := post(address, other, one)
	if err != nil {
		return err
	}
	if err := offers(got.Apps[1]); err != nil {
		return err
	}
	if got.Apps[0].Check.Status != "ok" || got.Apps[0].Check.Manifests[0].Version != appVersion {
		return fmt.Errorf("%+v", got.Apps[0])
	}
	if _, err := post(address, reporting(tracked(one.Machine), 3, 1, 0)); err != nil {
		return err
	}
	return stands(one.Machine, "complete", appVersion)
}

// withoutPath: the library adds the path to an address that has none.
func withoutPath() error {
	base, err := url.Parse(address)
	if err != nil {
		return err
	}
	base.Path = ""
	if base.Path == "" || base.Path == "/" {
		base.Path = "/v1/update/"
	}
	got, err := post(base.String(), checking(app(31)))
	if err != nil {
		return err
	}
	return offers(got.Apps[0])
}

type node struct {
	Application struct {
		State     string `json:"state"`
		Version   string `json:"version"`
		ErrorCode *int   `json:"error_code"`
	} `json:"application"`
}

// instance asks the admin API how a node of the application stands.
func instance(machine string) (*node, error) {
	root := strings.TrimSuffix(address, "/v1/update/")
	path := "/api/apps/" + url.PathEscape(product) + "/groups/" + groupID + "/instances/" + url.PathEscape(machine)
	got, err := web.Get(root + path)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		return nil, err
	}
	if got.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s %s", path, got.Status, body)
	}
	var found node
	return &found, json.Unmarshal(body, &found)
}

func stands(machine, state, version string) error {
	found, err := instance(machine)
	if err != nil {
		return err
	}
	if found.Application.State != state || found.Application.Version != version {
		return fmt.Errorf("%s %s, not %s %s", found.Application.State, found.Application.Version, state, version)
	}
	return nil
}
