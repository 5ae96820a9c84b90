package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// The shape of what Go clients post: protocol/samples 18 and 19. An empty attribute is left out.
type message struct {
	XMLName  xml.Name `xml:"request"`
	Protocol string   `xml:"protocol,attr"`
	Session  string   `xml:"sessionid,attr,omitempty"`
	User     string   `xml:"userid,attr,omitempty"`
	Version  string   `xml:"version,attr,omitempty"`
	OS       struct {
		Platform string `xml:"platform,attr"`
		Arch     string `xml:"arch,attr"`
	} `xml:"os"`
	Apps []asked `xml:"app"`
}

type asked struct {
	ID      string    `xml:"appid,attr,omitempty"`
	Version string    `xml:"version,attr,omitempty"`
	Track   string    `xml:"track,attr,omitempty"`
	Boot    string    `xml:"bootid,attr,omitempty"`
	Machine string    `xml:"machineid,attr,omitempty"`
	Alias   string    `xml:"machinealias,attr,omitempty"`
	OEM     string    `xml:"oem,attr,omitempty"`
	Ping    *ping     `xml:"ping"`
	Check   *struct{} `xml:"updatecheck"`
	Events  []event   `xml:"event"`
}

type ping struct {
	Active int `xml:"active,attr"`
}

type event struct {
	Type   int `xml:"eventtype,attr"`
	Result int `xml:"eventresult,attr"`
	Code   int `xml:"errorcode,attr,omitempty"`
}

// What of an answer is read. A flag that Go can't parse as a boolean fails the whole document: CLIENTS.md §3.
type reply struct {
	XMLName  xml.Name   `xml:"response"`
	Protocol string     `xml:"protocol,attr"`
	Apps     []answered `xml:"app"`
}

type answered struct {
	ID     string     `xml:"appid,attr"`
	Status string     `xml:"status,attr"`
	Ping   *status    `xml:"ping"`
	Check  *checkedUp `xml:"updatecheck"`
	Events []status   `xml:"event"`
}

type status struct {
	Status string `xml:"status,attr"`
}

type checkedUp struct {
	Status string `xml:"status,attr"`
	URLs   []struct {
		Codebase string `xml:"codebase,attr"`
	} `xml:"urls>url"`
	Manifests []struct {
		Version  string `xml:"version,attr"`
		IsFloor  bool   `xml:"is_floor,attr"`
		IsTarget bool   `xml:"is_target,attr"`
		Packages []struct {
			Name     string `xml:"name,attr"`
			SHA1     string `xml:"hash,attr"`
			Size     uint64 `xml:"size,attr"`
			Required bool   `xml:"required,attr"`
		} `xml:"packages>package"`
		Actions []struct {
			Event          string `xml:"event,attr"`
			SHA256         string `xml:"sha256,attr"`
			NeedsAdmin     bool   `xml:"needsadmin,attr"`
			IsDelta        bool   `xml:"IsDeltaPayload,attr"`
			DisableBackoff bool   `xml:"DisablePayloadBackoff,attr"`
		} `xml:"actions>action"`
	} `xml:"manifest"`
}

const maxAnswer = 1 << 20

var web = &http.Client{Timeout: 30 * time.Second}

// post sends the apps in one request and reads the answer by the rules of CLIENTS.md §3, "go-omaha client library".
func post(address string, apps ...asked) (*reply, error) {
	return send(address, xml.Header, "text/xml; charset=utf-8", apps)
}

// bare sends them as the older API's updater does: without a declaration.
func bare(address string, apps ...asked) (*reply, error) {
	return send(address, "", "text/xml", apps)
}

func send(address, declaration, contentType string, apps []asked) (*reply, error) {
	request := message{Protocol: "3.0", Session: "5d1f2a90-7c3e-4b18-a6f4-2e9d0c81b377", Version: "interop-1", Apps: apps}
	request.OS.Platform, request.OS.Arch = "linux", "x64"
	if len(apps) > 0 {
		request.User = apps[0].Machine
	}
	text, err := xml.Marshal(request)
	if err != nil {
		return nil, err
	}
	got, err := web.Post(address, contentType, bytes.NewReader(append([]byte(declaration), text...)))
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %s", got.Status)
	}
	if err := acceptable(got.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	var answer reply
	if err := xml.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%w in %s", err, body)
	}
	if answer.Protocol != "3.0" {
		return nil, fmt.Errorf("protocol %q, not 3.0", answer.Protocol)
	}
	return &answer, matching(apps, &answer)
}

func acceptable(contentType string) error {
	if contentType == "" {
		return nil
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	charset := parameters["charset"]
	if kind != "text/xml" && kind != "application/xml" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return fmt.Errorf("content type %q", contentType)
	}
	return nil
}

// matching checks that every app was answered once, in order, its id byte for byte, with a status for all it sent.
func matching(apps []asked, answer *reply) error {
	if len(answer.Apps) != len(apps) {
		return fmt.Errorf("%d apps asked, %d answered", len(apps), len(answer.Apps))
	}
	for i, app := range apps {
		got := answer.Apps[i]
		switch {
		case got.ID != app.ID:
			return fmt.Errorf("app %d is %q, not %q", i, got.ID, app.ID)
		case (got.Ping != nil) != (app.Ping != nil):
			return fmt.Errorf("app %d: ping asked and answered differ", i)
		case (got.Check != nil) != (app.Check != nil):
			return fmt.Errorf("app %d: update check asked and answered differ", i)
		case len(got.Events) != len(app.Events):
			return fmt.Errorf("app %d: %d events sent, %d answered", i, len(app.Events), len(got.Events))
		}
	}
	return nil
}
