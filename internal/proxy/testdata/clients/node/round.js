// What the programs of Node share: their addresses, and rounds until the input ends.
import { strict as assert } from 'node:assert'

const [one, two, word] = process.argv.slice(2)
const at = (text) => { const [host, port] = text.split(':'); return { host, port: Number(port) } }

export const addresses = [at(one), at(two)]
export { assert, word }

let ended = false
process.stdin.on('end', () => { ended = true }).resume()
process.on('unhandledRejection', (err) => { console.error(err); process.exit(1) })

// rounds calls round with a prefix of names for each rule, until the input ends.
export async function rounds (round, close) {
  for (let n = 1; !ended; n++) {
    for (const rule of ['mi', 'mo']) await round(`${rule}:${word}:${n}:`, rule)
    console.log(`round ${n}`)
  }
  await close()
  process.exit(0)
}

// optimistic adds 1 as a WATCH loop does: a change of phase makes one of its rounds fail.
export async function optimistic (once) {
  for (let tries = 0; tries < 20; tries++) if (await once()) return
  assert.fail('20 optimistic transactions failed')
}
