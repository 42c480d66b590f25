package difftest

import "strings"

// calls are the commands of the test, one a line. A word of % and a letter stands for a key of a
// type or for an argument, which fixture_test.go and words_test.go give; @ names a text.
//
// A command of the table that is neither here nor in the list of uncovered_test.go fails
// TestEveryCommandIsCoveredOrListed.
const calls = `
# strings
append %s %v
decr %n
decrby %n %i
get %s
getdel %s
getex %s
getex %s ex %r
getex %s pxat %T
getex %s persist
getrange %s %i %i
getset %s %v
incr %n
incrby %n %i
incrbyfloat %n %d
lcs %s %s
lcs %s %s idx minmatchlen 1
mget %s %s %n
mget %n
mset %s %v %s %v
mset %s %v %n %u
msetnx %s %v %n %u
psetex %s %R %v
set %s %v
set %n %u
set %s %v ex %r
set %s %v px %R
set %s %v exat %t
set %s %v pxat %T
set %s %v keepttl
set %s %v nx
set %s %v xx
set %s %v get
set %s %v nx get ex %r
set %k %v
setex %s %r %v
setnx %s %v
setrange %s %u %v
strlen %s
substr %s 0 2

# bitmaps and bit fields
bitcount %b
bitcount %b 0 5 bit
bitfield %b set u8 0 %u incrby i5 100 1
bitfield %b get u8 0
bitfield %b overflow fail incrby u2 0 1
bitfield_ro %b get u8 0
bitop and %b %b %b
bitop not %b %b
bitop xor %b %b %s
bitpos %b 1
getbit %b 7
setbit %b %u 1
setbit %b 7 0

# lists
blmove %l %l left right 0.01
blmpop 0.01 2 %l %l left count 2
blpop %l 0.01
blpop %l %l 0.01
brpop %l %l %l 0.01
brpoplpush %l %l 0.01
lindex %l %i
linsert %l before a %v
llen %l
lmove %l %l left right
lmpop 1 %l left
lmpop 2 %l %l right count %c
lpop %l
lpop %l %u
lpos %l a rank -1
lpos %l a count 0
lpush %l %v %v
lpushx %l %v
lrange %l 0 -1
lrange %l %i %i
lrem %l %i a
lset %l 0 %v
ltrim %l 0 3
ltrim %l 5 3
rpop %l
rpop %l %u
rpoplpush %l %l
rpush %l %v a %v
rpushx %l %v
sort %l alpha
sort %l alpha limit 0 2 desc store %l
sort %e alpha get #
sort %z alpha desc
sort_ro %l alpha limit 0 2

# sets
sadd %e %m %m
scard %e
sdiff %e %e
sdiffstore %e %e %e
sinter %e %e
sintercard 2 %e %e limit 2
sinterstore %e %e %e
sismember %e %m
smembers %e
smismember %e %m %m
smove %e %e %m
spop %e
spop %e %u
spop %e 1000
srandmember %e
srandmember %e %i
srem %e %m %m
sscan %e 0 count 1000
sunion %e %e
sunionstore %e %e %e

# hashes
hdel %h %f
hexists %h %f
hget %h %f
hgetall %h
hincrby %h n %i
hincrbyfloat %h n %d
hkeys %h
hlen %h
hmget %h %f %f
hmset %h %f %v
hrandfield %h
hrandfield %h %i withvalues
hscan %h 0 count 1000
hset %h %f %v %f %v
hsetnx %h %f %v
hstrlen %h %f
hvals %h

# expiries of hash fields
hexpire %h %r fields 1 %f
hexpire %h %r nx fields 2 f1 f2
hexpireat %h %t fields 1 %f
hexpiretime %h fields 2 f1 f2
hgetdel %h fields 1 %f
hgetex %h fields 1 %f
hgetex %h ex %r fields 1 %f
hgetex %h persist fields 1 %f
hpersist %h fields 1 %f
hpexpire %h %R fields 1 %f
hpexpireat %h %T fields 2 f1 %f
hpexpiretime %h fields 2 f1 f2
hpttl %h fields 2 f1 f2
hsetex %h ex %r fields 1 %f %v
hsetex %h fnx fields 1 %f %v
hsetex %h keepttl fields 1 %f %v
httl %h fields 2 f1 f2

# sorted sets
bzmpop 0.01 2 %z %z min
bzpopmax %z %z 0.01
bzpopmin %z 0.01
zadd %z %d %m
zadd %z gt ch %d %m %d %m
zadd %z xx incr %d %m
zadd %z nx %d %m
zcard %z
zcount %z -inf 2
zdiff 2 %z %z withscores
zdiffstore %z 2 %z %z
zincrby %z %d %m
zinter 2 %z %e withscores
zintercard 2 %z %z limit 1
zinterstore %z 2 %z %z aggregate max
zlexcount %z - +
zmpop 2 %z %z max count %c
zmscore %z %m %m nm
zpopmax %z
zpopmax %z %c
zpopmin %z
zpopmin %z %u
zrandmember %z
zrandmember %z %i withscores
zrange %z 0 -1
zrange %z 0 -1 withscores
zrange %z -inf +inf byscore limit 0 2
zrangebylex %z - +
zrangebyscore %z -inf 3 withscores
zrangestore %z %z 0 2
zrank %z %m
zrank %z %m withscore
zrem %z %m %m
zremrangebylex %z [0 [z
zremrangebyrank %z 0 0
zremrangebyscore %z 2 3
zrevrange %z 0 -1 withscores
zrevrangebylex %z + -
zrevrangebyscore %z +inf -inf
zrevrank %z %m
zscan %z 0 count 1000
zscore %z %m
zunion 2 %z %z weights 2 1 withscores
zunionstore %z 2 %z %e weights 1 2

# geo
geoadd %g 13.361389 38.115556 palermo
geoadd %g nx ch 12.7 38.1 %m
geodist %g palermo catania km
geohash %g palermo nowhere
geopos %g catania nowhere
georadius %g 15 37 200 km withdist withcoord asc
georadius %g 15 37 200 km store %g
georadius_ro %g 15 37 200 km
georadiusbymember %g palermo 200 km
georadiusbymember %g palermo 200 km count 1 asc storedist %g
georadiusbymember_ro %g palermo 200 km withhash
geosearch %g fromlonlat 15 37 bybox 400 400 km asc withdist
geosearchstore %g %g frommember palermo byradius 200 km asc count 2

# HyperLogLog
pfadd %p %v %v %v
pfadd %p
pfcount %p
pfcount %p %p %p
pfdebug getreg %p
pfdebug encoding %p
pfmerge %p %p %p

# streams
xack %x g1 %I %I
xadd %x * f %v
xadd %x 8000000000000-* f %v
xadd %x %J f %v g %v
xadd %x nomkstream maxlen = 4 * f %v
xadd %x maxlen ~ 3 %J f %v
xadd %x minid 8000000000000-2 * f %v
xautoclaim %x g1 c2 0 0
xautoclaim %x %G %C 0 - count 1 justid
xclaim %x g1 c2 0 %I
xclaim %x g1 %C 0 %I %I justid
xclaim %x g1 %C 0 %I force retrycount 3
xdel %x %I
xgroup create %x %G $
xgroup create %x %G 0 mkstream
xgroup createconsumer %x %G %C
xgroup delconsumer %x %G %C
xgroup destroy %x %G
xgroup setid %x %G 0
xinfo consumers %x %G
xinfo groups %x
xinfo stream %x
xinfo stream %x full count 2
xlen %x
xpending %x %G
xpending %x g1 - + 10
xpending %x g1 - + 10 %C
xrange %x - +
xrange %x - + count %u
xread count 2 streams %x 0
xread streams %x %x %x 0 0 0
xread streams %x $
xread block 5 streams %x $
xread block 5 streams %x %x 0 $
xreadgroup group %G %C count %c streams %x >
xreadgroup group g1 %C streams %x %x > >
xreadgroup group g1 %C noack streams %x >
xreadgroup group g1 %C streams %x 0
xreadgroup group %G %C block 5 streams %x >
xrevrange %x + -
xsetid %x 8000000000009-1
xtrim %x maxlen 2
xtrim %x maxlen ~ 2
xtrim %x minid = 8000000000000-2

# keys of any type
copy %k %k
copy %k %k replace
copy %k %k db 0
copy %k %k db 0 replace
del %k
del %k %k %k
dump %k
exists %k
exists %k %k %k
expire %k %r
expire %k %r nx
expire %k %r gt
expire %k -1
expireat %k %t
expireat %k %t lt
expiretime %k
keys *
keys a:*
keys *1
memory usage %k
object encoding %k
object freq %k
object idletime %k
object refcount %k
persist %k
pexpire %k %R
pexpire %k %R xx
pexpireat %k %T
pexpiretime %k
pttl %k
randomkey
rename %k %k
renamenx %k %k
restore %k 0 @payload-s
restore %k %R @payload-l replace
restore %k %T @payload-h absttl replace
restore-asking %k 0 @payload-z replace
scan 0 count 10000
scan 0 count 10000 match a:*
scan 0 count 10000 match *1 type list
touch %k %k
touch %k
ttl %k
type %k
unlink %k
unlink %k %k %k
debug object %k
debug digest-value %k %k

# scripts and functions
eval @script-incr 1 %n
eval @script-copy 2 %s %s %v
eval @script-types 1 %k
eval_ro @script-get 1 %s
evalsha @sha-incr 1 %n
evalsha_ro @sha-get 1 %s
fcall rekey_append 1 %l %v
fcall_ro rekey_type 1 %k
`

// vectorCalls are sent where no key of a rule is in a phase of the mirror strategy: the server
// cannot copy a vector set.
const vectorCalls = `
vadd %w values 3 1 0 0 %m
vcard %w
vdim %w
vemb %w m1
vgetattr %w m1
vinfo %w
vismember %w %m
vlinks %w m1
vrandmember %w
vrem %w %m
vsetattr %w m1 @attributes
vsim %w ele m1
`

// texts are the words that stand for more than a word.
var texts = map[string]string{
	"@script-incr":  `return redis.call('incr', KEYS[1])`,
	"@script-copy":  `redis.call('set', KEYS[2], redis.call('get', KEYS[1]) or ARGV[1]) return redis.call('append', KEYS[2], ARGV[1])`,
	"@script-types": `local t = redis.call('type', KEYS[1]) return {t, redis.call('exists', KEYS[1]), {double = 1.5}}`,
	"@script-get":   `return redis.call('get', KEYS[1])`,
	"@attributes":   `{"year": 1}`,
}

// library is the function library of fcall.
const library = `#!lua name=rekey
redis.register_function('rekey_append', function(keys, args) return redis.call('rpush', keys[1], args[1]) end)
redis.register_function{function_name='rekey_type', callback=function(keys) return redis.call('type', keys[1]) end, flags={'no-writes'}}
`

// callLines are the lines of a list of calls.
func callLines(list string) (lines []string) {
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}
