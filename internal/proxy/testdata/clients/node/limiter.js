import Redis from 'ioredis'
import { createClient } from 'redis'
import { RateLimiterRedis } from 'rate-limiter-flexible'
import { addresses, assert, rounds } from './round.js'

const a = new Redis({ ...addresses[0], retryStrategy: () => null })
const b = await createClient({ socket: { ...addresses[1], reconnectStrategy: false } }).connect()

await rounds(async (p) => {
  const options = { keyPrefix: p + 'rl', points: 5, duration: 100, blockDuration: 200 }
  const limits = [
    new RateLimiterRedis({ ...options, storeClient: a }),
    new RateLimiterRedis({ ...options, storeClient: b, useRedisPackage: true })
  ]
  for (let hit = 0; hit < 5; hit++) {
    const answer = await limits[hit % 2].consume('client')
    assert.equal(answer.remainingPoints, 4 - hit)
  }
  for (const limit of limits) await assert.rejects(limit.consume('client'), (answer) => answer.msBeforeNext > 100_000)
  assert.equal((await limits[1].get('client')).remainingPoints, 0)
  assert.equal(await limits[0].delete('client'), true)
  assert.equal(await limits[1].get('client'), null)
}, async () => { await a.quit(); await b.close() })
