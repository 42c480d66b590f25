import { Queue, QueueEvents, Worker } from 'bullmq'
import { addresses, assert, rounds, word } from './round.js'

// BullMQ's scripts build names of keys, so that its keys belong to no rule: what is shown is that its blocking
// commands, scripts and streams work beside rules that move.
const connection = addresses.map((o) => ({ ...o, maxRetriesPerRequest: null }))
const queue = new Queue(word, { connection: connection[0], prefix: 'bull' })
const events = new QueueEvents(word, { connection: connection[1], prefix: 'bull' })
await events.waitUntilReady()
const worker = new Worker(word, async (job) => {
  if (job.data.fails && job.attemptsMade < 1) throw new Error('once')
  return job.data.n * 2
}, { connection: connection[1], prefix: 'bull', concurrency: 4 })
worker.on('error', (err) => { console.error(err); process.exit(1) })

await rounds(async (p) => {
  const jobs = await queue.addBulk([1, 2, 3].map((n) => ({ name: p, data: { n } })))
  jobs.push(await queue.add(p, { n: 4, fails: true }, { attempts: 2 }))
  jobs.push(await queue.add(p, { n: 5 }, { delay: 20 }))
  const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 30_000)))
  assert.deepEqual(results, [2, 4, 6, 8, 10])
}, async () => { await worker.close(); await events.close(); await queue.close() })
