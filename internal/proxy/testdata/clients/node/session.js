import express from 'express'
import session from 'express-session'
import { RedisStore } from 'connect-redis'
import { createClient } from 'redis'
import { addresses, assert, rounds } from './round.js'

// An application in two processes: a session that one begins, the other knows.
const clients = await Promise.all(addresses.map((o) => createClient({ socket: { ...o, reconnectStrategy: false } }).connect()))

function serve (client, prefix) {
  const app = express()
  app.use(session({ store: new RedisStore({ client, prefix }), secret: 'of the test', resave: false, saveUninitialized: false }))
  app.get('/visit', (req, res) => { req.session.visits = (req.session.visits ?? 0) + 1; res.json(req.session.visits) })
  app.get('/leave', (req, res) => { req.session.destroy((err) => res.json(err ?? 'left')) })
  return new Promise((resolve) => { const server = app.listen(0, '127.0.0.1', () => resolve(server)) })
}

await rounds(async (p) => {
  const servers = await Promise.all(clients.map((client) => serve(client, p + 'sess:')))
  let cookie = ''
  const get = async (i, path) => {
    const res = await fetch(`http://127.0.0.1:${servers[i].address().port}${path}`, { headers: { cookie, connection: 'close' } })
    cookie = res.headers.get('set-cookie')?.split(';')[0] ?? cookie
    return await res.json()
  }
  for (let n = 1; n <= 4; n++) assert.equal(await get(n % 2, '/visit'), n)
  const store = new RedisStore({ client: clients[0], prefix: p + 'sess:' })
  assert.equal(await get(1, '/leave'), 'left')
  assert.equal(await new Promise((resolve, reject) => store.length((err, n) => err ? reject(err) : resolve(n))), 0)
  assert.equal(await get(0, '/visit'), 1)
  for (const s of servers) s.close()
}, async () => { for (const c of clients) await c.close() })
