// BullMQ (MIT) on Redis through ioredis: the roles of side.py, `node bullmq.js ROLE {"url": …, …}` prints one line of JSON.
const fs = require('node:fs');
const { Queue, Worker } = require('bullmq');

const CONCURRENCY = 16, DEAD_MILLISECONDS = 4000, BULK = 1000, WARM = 1_000_000_000, WARM_JOBS = 10;
const [role, text] = process.argv.slice(2);
const given = JSON.parse(text);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const now = () => Number(process.hrtime.bigint()) / 1e9;
const payload = (number) => ({ number, put: now(), customer: 'شركة البناء الحديث' });
const address = new URL(given.url);
const connection = { host: address.hostname, port: Number(address.port), db: Number(address.pathname.slice(1)), maxRetriesPerRequest: null };
const journal = given.journal ? fs.openSync(given.journal, 'a') : null;

async function run(job) {
  const { number, put } = job.data;
  if (given.job_seconds) fs.writeSync(journal, `S ${number}\n`);
  const began = now();
  if (given.job_seconds) await sleep(given.job_seconds);
  fs.writeSync(journal, `E ${number} ${put.toFixed(6)} ${began.toFixed(6)} ${now().toFixed(6)}\n`);
}

async function atEveryTick(queue, first, jobs) {
  const start = now();
  for (let tick = 0; tick < jobs; tick += 1) {
    await sleep(Math.max(0, start + tick * given.gap - now()));
    await queue.add('job', payload(first + tick));
  }
}

async function journalHolds(mark) {
  while (!fs.readFileSync(given.journal, 'utf8').includes(mark)) await sleep(0.02);
}

async function left(queue) {
  const counts = await queue.getJobCounts('wait', 'active', 'delayed', 'prioritized', 'paused', 'failed', 'waiting-children');
  return Object.values(counts).reduce((sum, each) => sum + each, 0);
}

function work() {
  const made = new Worker('bench', run, {
    connection, concurrency: CONCURRENCY, lockDuration: DEAD_MILLISECONDS, stalledInterval: DEAD_MILLISECONDS / 2, maxStalledCount: 20,
  });
  return new Promise((resolve) => process.once('SIGTERM', async () => { await made.close(); resolve(); }));
}

const roles = {
  async bulk(queue) {
    const start = now();
    for (let first = 0; first < given.jobs; first += BULK) {
      const size = Math.min(BULK, given.jobs - first);
      await queue.addBulk(Array.from({ length: size }, (_, index) => ({ name: 'job', data: payload(first + index) })));
    }
    return { per_second: given.jobs / (now() - start) };
  },
  async enqueue(queue) {
    for (let number = 0; number < WARM_JOBS; number += 1) await queue.add('job', payload(number));
    const start = now();
    let done = 0;
    for (; now() < start + given.seconds; done += 1) await queue.add('job', payload(done));
    const singly = done / (now() - start);
    const many = await roles.bulk(queue);
    return { one_per_second: singly, bulk_per_second: many.per_second, put: WARM_JOBS + done + given.jobs, left: await left(queue) };
  },
  async paced(queue) {
    await journalHolds('R ');
    await queue.add('job', payload(WARM));
    await journalHolds('E ');
    await atEveryTick(queue, WARM, WARM_JOBS);
    await atEveryTick(queue, 0, given.jobs);
    return {};
  },
  async worker(queue) {
    const before = process.cpuUsage();
    await work();
    const used = process.cpuUsage(before);
    return { processor_seconds: (used.user + used.system) / 1e6, left: await left(queue) };
  },
  async both(queue) {
    const ended = work();
    await roles.paced(queue);
    await ended;
    return { left: await left(queue) };
  },
};

(async () => {
  const queue = new Queue('bench', { connection });
  if (given.fresh && journal) fs.writeSync(journal, 'R 0\n');
  const answer = await roles[role](queue);
  await queue.close();
  console.log(JSON.stringify(answer));
})();
