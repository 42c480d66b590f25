import Redis from 'ioredis'
import { addresses, assert, optimistic, rounds } from './round.js'

const open = (o) => new Redis({ ...o, maxRetriesPerRequest: 0, retryStrategy: () => null })
const [a, b] = addresses.map(open)
const waits = open(addresses[0])
const listens = open(addresses[1])
b.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" })

await rounds(async (p) => {
  assert.equal(await a.set(p + 's', 'v', 'EX', 100), 'OK')
  assert.equal(await b.get(p + 's'), 'v')
  assert.ok(await b.ttl(p + 's') > 90)
  assert.equal(await b.get(p + 'none'), null)
  assert.equal(await a.incr(p + 'n'), 1)
  assert.equal(await b.addTo(p + 'n', 41), 42)
  await a.hset(p + 'h', { f: '1', g: '2' })
  assert.deepEqual(await b.hgetall(p + 'h'), { f: '1', g: '2' })
  await a.zadd(p + 'z', 1, 'x', 2, 'y')
  assert.deepEqual(await b.zrange(p + 'z', 0, -1, 'WITHSCORES'), ['x', '1', 'y', '2'])
  await a.mset(p + 'm1', '1', p + 'm2', '2')
  assert.deepEqual(await b.mget(p + 'm1', p + 'none', p + 'm2'), ['1', null, '2'])

  const replies = await a.pipeline().rpush(p + 'l', 'a', 'b', 'c').lrange(p + 'l', 0, -1).get(p + 'l').llen(p + 'l').exec()
  assert.deepEqual([replies[0], replies[1], replies[3]], [[null, 3], [null, ['a', 'b', 'c']], [null, 3]])
  assert.match(replies[2][0].message, /^WRONGTYPE/)
  assert.deepEqual(await b.multi().incr(p + 't').get(p + 't').exec(), [[null, 1], [null, '1']])
  await optimistic(async () => {
    await a.watch(p + 't')
    const n = Number(await a.get(p + 't'))
    return await a.multi().set(p + 't', n + 1).exec()
  })
  assert.equal(await b.get(p + 't'), '2')

  const popped = waits.blpop(p + 'q', 20)
  await b.rpush(p + 'q', 'job')
  assert.deepEqual(await popped, [p + 'q', 'job'])
  await listens.subscribe(p + 'c')
  const message = new Promise((resolve) => listens.once('message', (channel, text) => resolve([channel, text])))
  await a.publish(p + 'c', 'hi')
  assert.deepEqual(await message, [p + 'c', 'hi'])
  await listens.unsubscribe(p + 'c')

  const id = await a.xadd(p + 'x', '*', 'f', 'v')
  assert.deepEqual(await b.xread('COUNT', 1, 'STREAMS', p + 'x', '0'), [[p + 'x', [[id, ['f', 'v']]]]])
  for await (const names of b.scanStream({ match: p + '*', count: 500 })) for (const name of names) assert.ok(name.startsWith(p), name)
  assert.equal(await b.del('s', 'n', ...['s', 'n', 'h', 'z', 'm1', 'm2', 'l', 't', 'x'].map((k) => p + k)), 9)
  assert.equal(await a.exists(p + 's', p + 'x'), 0)
}, async () => { for (const c of [a, b, waits, listens]) await c.quit() })
