// The limiter of the Node processes, driven by a test: node limiter.js FOLDER CLIENT PORT OPTIONS.
// FOLDER has the packages, CLIENT is ioredis or redis, OPTIONS what RateLimiterRedis gets. Each line of the input is a
// command, {"hits": N, "key": K}: N hits at once. Each line of the output is its answer, one entry
// a hit: {"allowed", "consumed", "remaining", "ms"}.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, kind, port, options] = process.argv.slice(2);
const require = createRequire(folder + '/'); // the packages are not beside this file
const { RateLimiterRedis } = require('rate-limiter-flexible');

async function connect() {
  if (kind === 'ioredis') {
    const { Redis } = require('ioredis');
    return new Redis({ host: '127.0.0.1', port: Number(port) });
  }
  const { createClient } = require('redis');
  return createClient({ url: `redis://127.0.0.1:${port}` }).connect();
}

const storeClient = await connect();
const limiter = new RateLimiterRedis({ storeClient, useRedisPackage: kind === 'redis', ...JSON.parse(options) });

async function hit(key) {
  try {
    return answer(true, await limiter.consume(key));
  } catch (refused) {
    if (refused instanceof Error) throw refused;
    return answer(false, refused);
  }
}

function answer(allowed, res) {
  return { allowed, consumed: res.consumedPoints, remaining: res.remainingPoints, ms: res.msBeforeNext };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { hits, key } = JSON.parse(line);
  const answers = await Promise.all(Array.from({ length: hits }, () => hit(key)));
  process.stdout.write(JSON.stringify(answers) + '\n');
}
process.exit(0); // whatever the client still waits for
