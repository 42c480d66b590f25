package faulttest

import (
	"strconv"
	"strings"
)

// calls is how often a command ran, by the text of INFO commandstats.
func calls(info, command string) int {
	_, line, ok := strings.Cut(info, "cmdstat_"+command+":calls=")
	if !ok {
		return 0
	}
	digits, _, _ := strings.Cut(line, ",")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}
