import { createClient } from 'redis'
import { addresses, assert, optimistic, rounds, word } from './round.js'

const open = (o, more) => createClient({ socket: { ...o, reconnectStrategy: false }, ...more })
  .on('error', (err) => { console.error(err); process.exit(1) }).connect()
const a = await open(addresses[0], { name: word })
const b = await open(addresses[1], { RESP: 3 })
const waits = await open(addresses[0])
const listens = await open(addresses[1], { RESP: 3 })

await rounds(async (p) => {
  assert.equal(await a.set(p + 's', 'v', { expiration: { type: 'EX', value: 100 } }), 'OK')
  assert.equal(await b.get(p + 's'), 'v')
  assert.equal(await b.get(p + 'none'), null)
  assert.equal(await a.clientGetName(), word)
  assert.equal(await a.incrBy(p + 'n', 41), 41)
  assert.equal(await b.eval("return redis.call('INCR', KEYS[1])", { keys: [p + 'n'] }), 42)
  await a.hSet(p + 'h', { f: '1', g: '2' })
  assert.deepEqual({ ...await b.hGetAll(p + 'h') }, { f: '1', g: '2' })
  await a.zAdd(p + 'z', [{ score: 1, value: 'x' }, { score: 2.5, value: 'y' }])
  assert.deepEqual((await b.zRangeWithScores(p + 'z', 0, -1)).map((m) => [m.value, m.score]), [['x', 1], ['y', 2.5]])
  await a.sAdd(p + 'set', ['1', '2'])
  assert.deepEqual([...await b.sMembers(p + 'set')].sort(), ['1', '2'])

  // Commands of one tick go in one pipeline.
  assert.deepEqual(await Promise.all([a.rPush(p + 'l', ['a', 'b']), a.lRange(p + 'l', 0, -1), a.lLen(p + 'l')]), [2, ['a', 'b'], 2])
  await assert.rejects(b.get(p + 'l'), /WRONGTYPE/)
  assert.deepEqual(await b.multi().incr(p + 't').get(p + 't').exec(), [1, '1'])
  await optimistic(async () => {
    const alone = await open(addresses[0])
    try {
      await alone.watch(p + 't')
      const n = Number(await alone.get(p + 't'))
      await alone.multi().set(p + 't', n + 1).exec()
      return true
    } catch (err) {
      if (err.constructor.name !== 'WatchError') throw err
      return false
    } finally { alone.destroy() }
  })
  assert.equal(await b.get(p + 't'), '2')

  const popped = waits.blPop(p + 'q', 20)
  await b.rPush(p + 'q', 'job')
  assert.deepEqual({ ...await popped }, { key: p + 'q', element: 'job' })
  const message = new Promise((resolve) => { listens.subscribe(p + 'c', resolve).then(() => a.publish(p + 'c', 'hi')) })
  assert.equal(await message, 'hi')
  await listens.unsubscribe(p + 'c')

  const id = await a.xAdd(p + 'x', '*', { f: 'v' })
  assert.deepEqual((await b.xRange(p + 'x', '-', '+')).map((m) => [m.id, m.message.f]), [[id, 'v']])
  for await (const names of b.scanIterator({ MATCH: p + '*', COUNT: 500 })) for (const name of names) assert.ok(name.startsWith(p), name)
  assert.equal(await b.unlink(['s', 'n', 'h', 'z', 'set', 'l', 't', 'x'].map((k) => p + k)), 8)
  assert.equal(await a.exists([p + 's', p + 'x']), 0)
}, async () => { for (const c of [a, b, waits, listens]) await c.close() })
