// opossum (Apache 2.0) and cockatiel (MIT): the cases of cases.py that Node has, `node node_policies.js` answers a line of JSON with one.
const readline = require('node:readline');
const cockatiel = require('cockatiel');
const CircuitBreaker = require('opossum');

const CALLS = 1000, BATCHES = 7, BATCH_MS = 12, WARM_MS = 400;
const FAILURES = 5, OPEN_MS = 30_000, LEASE_MS = 1000, ATTEMPTS = 3, AT_ONCE = 20, TIMEOUT_MS = 1000;
const SHORT_OPEN_MS = 200, PROBE_MS = 100, CALLERS = 50, LATER_CALLS = 5;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const work = async () => 1;
const fail = async () => { throw new Error('broken'); };
const quietly = (call) => call().catch(() => undefined);

function sampling(openMs) {
  const breaker = new cockatiel.SamplingBreaker({ threshold: 0.5, duration: 30_000, minimumRps: 0.01 });
  return cockatiel.circuitBreaker(cockatiel.handleAll, { halfOpenAfter: openMs, breaker });
}

function cockatielOf(policy) {
  return (call) => () => policy.execute(call);
}

const SIDES = {
  'cockatiel breaker': (openMs) => cockatielOf(sampling(openMs)),
  'cockatiel pipeline': (openMs) => cockatielOf(cockatiel.wrap(
    cockatiel.retry(cockatiel.handleAll, { maxAttempts: ATTEMPTS - 1, backoff: new cockatiel.ExponentialBackoff() }),
    sampling(openMs), cockatiel.bulkhead(AT_ONCE, 50), cockatiel.timeout(TIMEOUT_MS, cockatiel.TimeoutStrategy.Cooperative),
  )),
  'opossum breaker': (openMs) => (call) => {
    const breaker = new CircuitBreaker(call, { timeout: false, resetTimeout: openMs, volumeThreshold: FAILURES });
    return () => breaker.fire();
  },
  'opossum pipeline': (openMs) => (call) => {
    const breaker = new CircuitBreaker(call, { timeout: TIMEOUT_MS, capacity: AT_ONCE, resetTimeout: openMs, volumeThreshold: FAILURES });
    return () => breaker.fire();
  },
};

async function batch(call, ms) {
  const cpu = process.cpuUsage(), until = performance.now() + ms;
  let done = 0;
  while (performance.now() < until) {
    for (let index = 0; index < CALLS; index += 1) await call();
    done += CALLS;
  }
  const took = process.cpuUsage(cpu);
  return 1000 * (took.user + took.system) / done;
}

async function timed(wrap) {
  const call = wrap(OPEN_MS)(work);
  if (await call() !== 1) throw new Error('the answer was lost');
  await batch(call, WARM_MS);
  const found = [];
  for (let turn = 0; turn < BATCHES; turn += 1) found.push(await batch(call, BATCH_MS));
  return { sync: null, async: Math.min(...found) };
}

async function tripped(wrap, inner, openMs) {
  const guarded = wrap(openMs)(() => { inner.through += 1; return inner.does(); });
  await trip(inner, guarded);
  return guarded;
}

async function trip(inner, guarded) {
  for (let index = 0; index < 2 * FAILURES; index += 1) await quietly(guarded);
  const before = inner.through;
  await quietly(guarded);
  if (inner.through !== before) throw new Error(`the breaker did not open after ${2 * FAILURES} failures`);
  inner.through = 0;
}

async function halfOpen(wrap) {
  const inner = { through: 0, does: fail };
  const guarded = await tripped(wrap, inner, SHORT_OPEN_MS);
  inner.does = () => sleep(PROBE_MS);
  await sleep(1.3 * SHORT_OPEN_MS);
  await Promise.all(Array.from({ length: CALLERS }, () => quietly(guarded)));
  return inner.through;
}

async function hung(wrap) {
  const inner = { through: 0, does: fail };
  const guarded = await tripped(wrap, inner, SHORT_OPEN_MS);
  inner.does = () => new Promise(() => undefined);
  await sleep(1.3 * SHORT_OPEN_MS);
  quietly(guarded);
  await sleep(1.2 * LEASE_MS);
  inner.does = work;
  inner.through = 0;
  for (let index = 0; index < LATER_CALLS; index += 1) await Promise.race([quietly(guarded), sleep(200)]);
  return inner.through;
}

async function late(wrap) {
  let finish;
  const inner = { through: 0, does: () => new Promise((resolve) => { finish = resolve; }) };
  const guarded = wrap(OPEN_MS)(() => { inner.through += 1; return inner.does(); });
  const slow = quietly(guarded);
  await sleep(20);
  inner.does = fail;
  await trip(inner, guarded);
  finish(1);
  await slow;
  inner.does = work;
  for (let index = 0; index < LATER_CALLS; index += 1) await quietly(guarded);
  return inner.through;
}

async function answer(given) {
  const wrap = SIDES[process.argv[2]];
  if (given.case !== 'correctness') return timed(wrap);
  return { probes: null, aprobes: await halfOpen(wrap), hung: await hung(wrap), cancelled: null, late: await late(wrap), parallel: null };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const said = await answer(JSON.parse(line)).catch((error) => ({ error: String(error) }));
    process.stdout.write(`${JSON.stringify(said)}\n`);
  }
  process.exit(0);
}

main();
