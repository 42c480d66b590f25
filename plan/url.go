package plan

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// URL is where a server is, with its password. Every printed form leaves the password out; convert it to a string to
// connect.
type URL string

// String is the URL without password and parameters.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Opaque != "" {
		return "(unreadable URL)"
	}
	parsed.RawQuery, parsed.Fragment = "", ""
	if _, both := parsed.User.Password(); !both && parsed.User != nil {
		// redis://secret@host: it may be a password in the wrong place.
		parsed.User = url.User("xxxxx")
	}
	return parsed.Redacted()
}

// GoString keeps the password out of %#v.
func (u URL) GoString() string { return fmt.Sprintf("plan.URL(%q)", u.String()) }

// MarshalText keeps the password out of JSON and logs.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// ParseURL checks the URL of a server. Its errors do not hold the URL, and do not begin with "rekey:": they are for the
// middle of a sentence that says where the URL was written.
func ParseURL(text string) (URL, error) {
	if clustered(text) {
		return "", fmt.Errorf("a cluster is not supported yet: name a single server or a Sentinel group")
	}
	u, err := url.Parse(text)
	if err != nil {
		// err holds the whole URL.
		return "", fmt.Errorf("the server's URL cannot be read: write redis://host:6379 with user:password@ before the host, and %%2F for a / and %%40 for an @ in the password")
	}
	switch u.Scheme {
	case "redis", "rediss":
		if u.Hostname() == "" {
			return "", fmt.Errorf("the server's URL names no host: write redis://127.0.0.1:6379")
		}
		if port := u.Port(); port != "" {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return "", fmt.Errorf("the port in the server's URL is none: write redis://host:6379")
			}
		}
		if _, err := databaseOf(u); err != nil {
			return "", err
		}
	case "unix":
		if u.Path == "" {
			return "", fmt.Errorf("the server's URL names no socket: write unix:///run/redis/redis.sock")
		}
	default:
		return "", fmt.Errorf("the server's URL begins with none of redis://, rediss:// and unix://")
	}
	return URL(text), nil
}

// Database returns the database that a URL names; false if it names none.
func (u URL) Database() (int, bool) {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return 0, false
	}
	db, err := databaseOf(parsed)
	return db, err == nil && db >= 0
}

// databaseOf reads redis://host/DB or ?db=DB. -1: none.
func databaseOf(u *url.URL) (int, error) {
	text := u.Query().Get("db")
	if u.Scheme != "unix" && text == "" {
		text = strings.Trim(u.Path, "/")
	}
	if text == "" {
		return -1, nil
	}
	db, err := strconv.Atoi(text)
	if err != nil || db < 0 {
		return -1, fmt.Errorf("the database in the server's URL is no number: write redis://host:6379/0")
	}
	return db, nil
}

// clustered reports whether a URL can only mean a cluster: by its scheme, by several hosts, by a parameter.
func clustered(text string) bool {
	scheme, after, _ := strings.Cut(text, "://")
	if strings.Contains(scheme, "cluster") {
		return true
	}
	authority, query, _ := strings.Cut(after, "?")
	// A password may hold anything but an @ behind it; what follows the last one is the host.
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	host, _, _ = strings.Cut(host, "/")
	if strings.ContainsRune(host, ',') {
		return true
	}
	values, err := url.ParseQuery(query)
	return err == nil && (values.Has("addr") || slices.Contains([]string{"true", "1", "yes"}, values.Get("cluster")))
}
