package keys

// QueryCacheLockPattern matches the locks of the results that [QueryCachePattern] matches.
func QueryCacheLockPattern(queryType, prefix string) (string, error) {
	name, err := build("query_cache_lock:", one("query type", queryType), ":")
	if err != nil {
		return "", err
	}
	return globLiteral.Replace(name+prefix) + "*", nil
}
