package command

import "strings"

// family is a number of commands that are judged alike, and why. Names are
// separated by spaces; a subcommand is written as the server writes it,
// "xgroup|create". A container stands for those of its subcommands that no
// family names.
type family struct {
	class Class
	names string
	why   string
}

// families is the whole judgement of commands by their names. What the words of
// a call change is in forms. Replay is an allow-list: a write that nobody has
// thought through is recopied, which is right for any command.
var families = []family{
	{ClassRead, `
		bitcount bitfield_ro bitpos digest getbit getrange get lcs mget strlen substr
		hexists hget hgetall hkeys hlen hmget hrandfield hscan hstrlen hvals
		hexpiretime hpexpiretime httl hpttl
		lindex llen lpos lrange
		scard sdiff sinter sintercard sismember smembers smismember srandmember sscan sunion
		zcard zcount zdiff zinter zintercard zlexcount zmscore zrandmember zrange zrangebylex
		zrangebyscore zrank zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion
		geodist geohash geopos georadius_ro georadiusbymember_ro geosearch
		xlen xpending xrange xrevrange xread xinfo|stream xinfo|groups xinfo|consumers
		dump expiretime pexpiretime pttl ttl type
		object|encoding object|freq object|idletime object|refcount memory|usage
		vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vsim
		arcount arget argetrange argrep arinfo arlastitems arlen armget arnext arop arscan`,
		"it changes nothing"},
	{ClassRead, "eval_ro evalsha_ro fcall_ro",
		"the server itself lets it write nothing"},
	{ClassRead, "sort_ro",
		"it changes nothing; with BY or GET it reads keys whose names the server makes up"},

	{ClassCount, "del unlink exists touch",
		"the answer counts keys, and a logical key counts once however many names it has"},
	{ClassKeyspace, "scan keys randomkey",
		"the answer is names"},

	{ClassReplay, `
		append decr decrby getdel getset incr incrby incrbyfloat setnx setrange msetnx
		setbit bitop bitfield`,
		"string arithmetic: the new value follows from the old one and the arguments"},
	{ClassReplay, "set setex psetex mset msetex getex",
		"the new value is an argument; conditions look at equal old values"},
	{ClassReplay, "delex delifeq",
		"whether the key goes is decided by its value"},
	{ClassReplay, "pfadd pfcount pfmerge",
		"the registers follow from the old registers; a count caches itself in the value, a write in all but name"},
	{ClassReplay, `
		hset hsetnx hmset hdel hincrby hincrbyfloat hgetdel hgetex hsetex hpersist
		hexpire hpexpire hexpireat hpexpireat`,
		"fields are named in the arguments"},
	{ClassReplay, `
		lpush lpushx rpush rpushx lpop rpop linsert lrem lset ltrim lmove rpoplpush lmpop
		blpop brpop blmove brpoplpush blmpop`,
		"a list has one order, so that equal lists lose and gain equal elements"},
	{ClassReplay, "sadd srem smove sinterstore sunionstore sdiffstore",
		"members are named in the arguments or follow from equal sets"},
	{ClassReplay, `
		zadd zincrby zrem zpopmin zpopmax zmpop bzpopmin bzpopmax bzmpop zrangestore
		zremrangebylex zremrangebyrank zremrangebyscore zunionstore zinterstore zdiffstore
		geoadd geosearchstore`,
		"a sorted set has one order, by score and then by bytes"},
	{ClassReplay, "georadius georadiusbymember",
		"with STORE the result follows from an ordered set; without it is a read"},
	{ClassReplay, `
		xadd xtrim xdel xdelex xack xackdel xsetid
		xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid`,
		"entries and groups are named in the arguments, or trimmed at an exact length"},
	{ClassReplay, "expire pexpire expireat pexpireat persist",
		"the expiry is an argument; conditions look at equal old expiries"},
	{ClassReplay, "rename renamenx copy restore restore-asking",
		"the value is an argument or an equal value of another key"},

	{ClassEffect, "spop",
		"the server picks the members"},

	{ClassRecopy, "eval evalsha fcall",
		"a script may do anything to its keys"},
	{ClassRecopy, "xreadgroup xclaim xautoclaim",
		"delivery times and what is pending hang on the clock"},
	{ClassRecopy, "sort",
		"the order of equal elements is left open"},
	{ClassRecopy, "vadd vrem vsetattr",
		"the graph of a vector set is built with random numbers"},
	{ClassRecopy, "arset armset ardel ardelrange arinsert arring arseek xcfgset",
		"too new to have been tried on a server"},
	{ClassRecopy, "pfdebug",
		"it changes the encoding"},

	{ClassRefuse, "migrate move swapdb",
		"it takes keys between servers or databases, and the rules may not hold in both"},
	{ClassRefuse, "sync psync replconf",
		"a replica would get the physical names: connect it to the server itself"},
	{ClassRefuse, "cluster|getkeysinslot clusterscan",
		"it answers with physical names: ask the node itself"},
	{ClassRefuse, "script|debug",
		"the script debugger takes the connection over: connect it to the server itself"},
	{ClassRefuse, "object xgroup xinfo memory",
		"its subcommand is not known here, so neither are its keys"},

	{ClassSession, `
		multi exec discard watch unwatch select hello auth reset quit client monitor
		subscribe unsubscribe psubscribe punsubscribe ssubscribe sunsubscribe
		asking readonly readwrite`,
		"it is about the connection"},

	{ClassNone, `
		acl bgrewriteaof bgsave cluster command config dbsize echo failover flushall flushdb function
		info lastsave latency lolwut module pfselftest ping publish pubsub replicaof role save
		script shutdown slaveof slowlog spublish time wait waitaof
		object|help xgroup|help xinfo|help
		memory|doctor memory|help memory|malloc-stats memory|purge memory|stats`,
		"it names no keys"},
	{ClassNone, "debug",
		"it names no keys, but for the subcommands that inspect one"},
}

// rule is what families, forms and finders say of one command.
type rule struct {
	class    Class
	why      string
	names    Names
	relative bool
	plain    bool
	form     func(u Use, args [][]byte) Use
	keys     func(dst []Key, args [][]byte) ([]Key, error)
}

// rules is made once, before main.
var rules = newRules()

func newRules() map[string]*rule {
	all := make(map[string]*rule)
	for _, f := range families {
		for _, name := range fields(f.names) {
			all[name] = &rule{class: f.class, why: f.why, plain: f.plain(name)}
		}
	}
	for _, name := range fields(relativeTTL) {
		all[name].relative = true
	}
	for _, name := range fields(namesFirst) {
		all[name].names = NamesFirst
	}
	for _, name := range fields(namesStreams) {
		all[name].names = NamesStreams
	}
	for name, form := range forms {
		all[name].form = form
	}
	for name, keys := range finders {
		all[name].keys = keys
	}
	return all
}

const (
	relativeTTL  = "setex psetex expire pexpire hexpire hpexpire"
	namesFirst   = "blpop brpop bzpopmin bzpopmax lmpop zmpop blmpop bzmpop"
	namesStreams = "xread xreadgroup"
)

// fields splits a list of names and gives subcommands the form of
// [Command.Name].
func fields(list string) []string {
	names := strings.Fields(list)
	for i := range names {
		names[i] = strings.Replace(names[i], "|", " ", 1)
	}
	return names
}
